/* What the pages with a map share in building their parts, and in words for times and directions. */
(() => {
  "use strict";
  const HM = (window.HeadwaterMap = window.HeadwaterMap || {});
  const COMPASS = ["N", "NE", "E", "SE", "S", "SW", "W", "NW"];
  const two = (number) => String(number).padStart(2, "0");

  HM.make = (tag, props = {}, ...children) => {
    const { dataset, aria, ...rest } = props;
    const element = Object.assign(document.createElement(tag), rest);
    Object.assign(element.dataset, dataset);
    for (const [name, value] of Object.entries(aria ?? {})) element.setAttribute(`aria-${name}`, value);
    element.append(...children.filter((child) => child !== null));
    return element;
  };

  HM.put = (element, text) => { if (element.textContent !== text) element.textContent = text; };

  HM.clock = (ms) => {
    const at = new Date(ms);
    return `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}`;
  };

  HM.day = (ms) => new Date(ms).toISOString().slice(0, 10);

  HM.age = (seconds) => {
    if (seconds < 2) return "now";
    if (seconds < 120) return `${Math.round(seconds)} s`;
    if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
    return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`;
  };

  HM.compass = (heading) => (heading === heading ? `${Math.round(heading)}° ${COMPASS[Math.round(heading / 45) % 8]}` : "-");
})();
