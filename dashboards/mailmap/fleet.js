// What Folium's layers call. Words come from records that anybody may send: they enter the page as text, never as HTML.
const fleetMap = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const COLOURS = { moving: "#1f8a4c", stopped: "#c77700", offline: "#7a8794" };
  const STYLES = {
    land: { color: "#9fb0ba", weight: 0.8, fillColor: "#f3f1e9", fillOpacity: 1, interactive: false },
    border: { color: "#a8a39a", weight: 1, dashArray: "4 3", interactive: false },
    depot: { color: "#2a6fdb" },
    customer: { color: "#7b4fc9" },
    no_go: { color: "#d03b3b", dashArray: "6 4" },
  };

  const style = (feature) => ({ weight: 2, fillOpacity: 0.15, ...STYLES[feature.properties.kind] });

  const shape = (state, heading) => {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", "-12 -12 24 24");
    const path = svg.appendChild(document.createElementNS(SVG, "path"));
    path.setAttribute("d", heading === null ? "M0,-6a6,6 0 1 0 .01,0z" : "M0,-10L7,9L0,5L-7,9z");
    path.setAttribute("fill", COLOURS[state]);
    path.setAttribute("stroke", "#fff");
    path.setAttribute("stroke-width", "1.5");
    if (heading !== null) path.setAttribute("transform", `rotate(${heading})`);
    return svg;
  };

  const truck = (feature, place) => {
    const { truck_id, state, heading_deg } = feature.properties;
    const icon = L.divIcon({ className: "truck", iconSize: [24, 24], html: shape(state, heading_deg) });
    return L.marker(place, { icon, title: truck_id, alt: truck_id });
  };

  const table = (rows) => {
    const made = document.createElement("table");
    for (const [name, value] of rows) {
      const row = made.insertRow();
      row.appendChild(document.createElement("th")).textContent = name;
      row.insertCell().textContent = value;
    }
    return made;
  };

  const describe = (feature, layer) => layer.bindPopup(() => table(feature.properties.rows));

  const name = (feature, layer) => {
    const text = document.createElement("span");
    text.textContent = feature.properties.name;
    layer.bindTooltip(text, { sticky: true });
  };

  // Areas first, then towns, the largest first; a name that would lie on another is left out at this zoom.
  const label = (map, labels) => {
    const group = L.layerGroup().addTo(map);
    const draw = () => {
      group.clearLayers();
      const taken = [], view = map.getBounds();
      for (const [name, longitude, latitude, kind] of labels) {
        const place = L.latLng(latitude, longitude);
        if (!view.contains(place)) continue;
        const { x, y } = map.latLngToContainerPoint(place), half = name.length * 3.3 + 4;
        if (taken.some((other) => Math.abs(x - other.x) < half + other.half && Math.abs(y - other.y) < 16)) continue;
        taken.push({ x, y, half });
        const html = document.createElement("span");
        html.textContent = name;
        const icon = L.divIcon({ className: `label ${kind}`, iconSize: [2 * half, 14], html });
        L.marker(place, { icon, interactive: false, keyboard: false, zIndexOffset: -10000 }).addTo(group);
      }
    };
    map.on("moveend", draw);
    draw();
  };

  const start = (map, labels) => {
    // Beyond the bounds there is no land in this file.
    map.setMinZoom(map.getBoundsZoom(map.options.maxBounds));
    map.attributionControl.addAttribution("Natural Earth, GeoNames (CC BY 4.0)");
    label(map, labels);
  };

  return { style, truck, describe, name, start };
})();
