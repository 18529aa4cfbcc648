/* The page /co2: the chart of rates gets its newest points, and alarms are acknowledged. */
(() => {
  "use strict";
  const stay = () => window.dash_clientside.no_update;

  /* dcc.Graph writes a reader's zoom back into its figure, where Plotly takes it for the figure's own: the next figure,
     which has none, would end it. Without that listener Plotly's `uirevision` keeps it. */
  const keepZoom = () => {
    for (const chart of document.querySelectorAll(".js-plotly-plot")) chart.removeAllListeners?.("plotly_relayout");
  };

  /* Points that the chart has not got yet. Each message overlaps with the one before, so that none is missed. */
  const extend = (tail) => {
    keepZoom();
    const chart = document.querySelector("#co2-rate .js-plotly-plot");
    const meta = chart?.layout?.meta;
    if (!tail || !window.Plotly || meta?.shape !== tail.shape) return stay();
    const fresh = { x: [], y: [] }, places = [];
    let changed = false;
    chart.data.forEach((trace, place) => {
      const source = tail.lines[trace.meta?.source];
      const open = tail.lines[trace.meta?.open]?.open;
      if (source) {
        const last = trace.x.length ? trace.x[trace.x.length - 1] : -Infinity;
        const from = source.x.findIndex((at) => at > last);
        if (from < 0) return;
        places.push(place);
        fresh.x.push(source.x.slice(from));
        fresh.y.push(source.y.slice(from).map((value) => (value === null ? null : value / meta.kg)));
      } else if (open && (trace.x[0] !== open[0][0] || trace.y[0] !== open[1][0] / meta.kg)) {
        changed = true;
        trace.x = open[0];
        trace.y = open[1].map((value) => value / meta.kg);
      }
    });
    for (const shape of chart.layout.shapes ?? []) {
      if (shape.name === "open" && shape.x1 < tail.until) {
        changed = true;
        shape.x1 = tail.until;
      }
    }
    if (places.length) window.Plotly.extendTraces(chart, fresh, places);
    else if (changed) window.Plotly.redraw(chart);
    return stay();
  };

  const ANSWER_MS = 30000;
  const asked = new Map(); // alarm -> when it was asked for, or what was wrong
  const again = new Map(); // alarm -> draws its cell anew

  const say = (alarm, state) => {
    asked.set(alarm, state);
    again.get(alarm)?.();
  };

  const acknowledge = async (alarm) => {
    const input = document.getElementById("co2-name");
    const by = input?.value.trim();
    if (!by) {
      say(alarm, { wrong: "your name first" });
      input?.focus();
      return;
    }
    say(alarm, { at: Date.now() });
    setTimeout(() => asked.get(alarm)?.at && say(alarm, { wrong: "no answer yet" }), ANSWER_MS);
    try {
      const answer = await fetch("/api/v1/co2/alarms/acknowledge", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ alarm_id: alarm, acknowledged_by: by }),
      });
      if (!answer.ok) say(alarm, { wrong: `not taken (${answer.status})` });
    } catch {
      say(alarm, { wrong: "the dashboard does not answer" });
    }
  };

  const Acknowledge = ({ data, value }) => {
    const { createElement, useEffect, useState } = window.React;
    const [, draw] = useState(0);
    useEffect(() => {
      again.set(data.id, () => draw((times) => times + 1));
      return () => again.delete(data.id);
    }, [data.id]);
    if (value) {
      asked.delete(data.id);
      return createElement("span", { title: value }, `✓ ${value}`);
    }
    const state = asked.get(data.id);
    if (state?.at) return createElement("span", { className: "hw-muted" }, "acknowledging …");
    const button = createElement(
      "button",
      { type: "button", className: "co2-acknowledge", onClick: () => acknowledge(data.id) },
      "Acknowledge",
    );
    return createElement("span", null, button, state ? ` ${state.wrong}` : "");
  };

  window.dashAgGridComponentFunctions = Object.assign(window.dashAgGridComponentFunctions || {}, {
    Co2Acknowledge: Acknowledge,
  });
  window.dash_clientside = Object.assign(window.dash_clientside || {}, { co2: { extend } });
})();
