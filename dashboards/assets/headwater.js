/* The browser's side: what this tab shows (the view), whether the push is alive, and a record's detail. */
(() => {
  "use strict";
  const SILENCE_MS = 6000, NUDGE_MS = 10000, HIDDEN_MS = 60000;
  const root = document.documentElement;
  const scheme = () => (root.getAttribute("data-mantine-color-scheme") === "dark" ? "dark" : "light");
  const view = { path: null, theme: "light", hidden: false, filters: {} };
  let beat = Date.now();

  const tell = (patch) => {
    Object.assign(view, { theme: scheme() }, patch);
    if (view.path !== null && window.dash_clientside?.set_props) {
      window.dash_clientside.set_props("view", { data: { ...view } });
    }
  };

  const markLinks = () => {
    for (const link of document.querySelectorAll(".hw-link")) {
      const here = link.getAttribute("href");
      const path = location.pathname;
      const current = here === path || (here !== "/" && path.startsWith(here + "/"));
      current ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
    }
  };

  new MutationObserver(() => scheme() !== view.theme && tell({}))
    .observe(root, { attributes: true, attributeFilter: ["data-mantine-color-scheme"] });

  let hiding;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (document.hidden) hiding = setTimeout(() => tell({ hidden: true }), HIDDEN_MS);
    else if (view.hidden) tell({ hidden: false });
  });

  // The worker that holds the socket gives up after some minutes; a nudge makes it try again.
  let nudged = 0;
  setInterval(() => {
    const silence = Date.now() - beat;
    document.getElementById("lost")?.classList.toggle("shown", silence > SILENCE_MS && !document.hidden);
    if (silence > NUDGE_MS && Date.now() - nudged > NUDGE_MS && !document.hidden) {
      nudged = Date.now();
      tell({ nudge: nudged });
    }
  }, 1000);

  const pretty = (value) => JSON.stringify(value, null, 2);

  const TYPES = { productview: "view", addtobasket: "add", removefrombasket: "remove", purchase: "purchase" };
  window.dashAgGridComponentFunctions = Object.assign(window.dashAgGridComponentFunctions || {}, {
    EventType: ({ value }) =>
      window.React.createElement("span", { className: `hw-type hw-type-${value}` }, TYPES[value] ?? value),
  });

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    headwater: {
      page: (path) => {
        tell({ path, paused: false, filters: {} });
        markLinks();
        document.dispatchEvent(new CustomEvent("headwater:page", { detail: path }));
        return window.dash_clientside.no_update;
      },
      control: (value, id) => {
        const name = id.split("-").pop();
        tell({ [name]: name === "paused" ? Boolean(value) : Number(value) });
        return window.dash_clientside.no_update;
      },
      filter: (value, id) => {
        const text = Array.isArray(value) ? value.join(",") : value || "";
        tell({ filters: { ...view.filters, [id.split("-").pop()]: text } });
        return window.dash_clientside.no_update;
      },
      beat: () => {
        beat = Date.now();
        return window.dash_clientside.no_update;
      },
      pause: (clicks) => {
        const paused = (clicks || 0) % 2 === 1;
        tell({ paused });
        return [paused ? "▶ Resume" : "❚❚ Pause", paused ? "filled" : "default"];
      },
      detail: async (live, rejected) => {
        const stay = window.dash_clientside.no_update;
        const from = window.dash_clientside.callback_context.triggered_id;
        const event = from.endsWith("-live") ? live : rejected;
        if (!event?.rowId) return [stay, stay, stay, stay];
        const api = await window.dash_ag_grid.getApiAsync(from);
        const row = api.getRowNode(event.rowId)?.data;
        if (!row) return [stay, stay, stay, stay];
        const full = JSON.parse(row.record);
        const { topic, partition, offset, kafka_timestamp, ...record } = full;
        const where = { topic, partition, offset, kafka_timestamp };
        let raw = full.raw;
        if (raw === undefined) {
          try {
            const answer = await fetch(`/api/v1/${location.pathname.split("/")[1]}/raw/${partition}/${offset}`);
            raw = answer.ok ? (await answer.json()).value : "It is no longer in the raw topic.";
          } catch { raw = "The dashboard does not answer."; }
        }
        try { raw = pretty(JSON.parse(raw)); } catch { /* shown as it came */ }
        const { raw: _, ...rest } = record;
        return [true, raw, pretty(rest), pretty(where)];
      },
    },
  });
})();
