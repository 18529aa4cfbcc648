/* Which aircraft are wanted: the form of the page /aircraft, what it asks for, and how the address says it.
   Inside, altitudes are metres and speeds km/h, whatever the reader's units are. */
(() => {
  "use strict";
  const HM = (window.HeadwaterMap = window.HeadwaterMap || {});
  const MOST_PATTERN = 100, TYPING_MS = 150, COUNTRIES_MS = 3000;
  const RANGES = { alt: ["altitude", "Altitude"], speed: ["speed", "Speed"] };
  const names = new Intl.Collator("en");

  HM.SkyFilters = class {
    /* `changed()` is told; `units()` gives the units of now. */
    constructor(parent, { phases, categories, units, changed }) {
      Object.assign(this, { phases, categories, units, changed });
      this.clear();
      this.build(parent);
    }

    clear() {
      this.text = "";
      this.isRegex = false;
      this.pattern = null;
      this.ranges = { alt: [null, null], speed: [null, null] };
      this.country = this.category = "";
      this.wanted = new Set();
      this.inView = true;
    }

    // --- what it asks for ---

    fits(row) {
      if (this.pattern && ![row.words?.[0], row.id, row.words?.[2]].some((text) => text && this.pattern(text))) return false;
      if (this.wanted.size && !this.wanted.has(row.state)) return false;
      if (this.country && (row.words?.[1] ?? "") !== this.country) return false;
      if (this.category !== "" && row.category !== Number(this.category)) return false;
      return this.within(this.ranges.alt, row.altitude) && this.within(this.ranges.speed, row.speed);
    }

    /* What has no such value is in no range. */
    within([least, most], value) {
      if (least === null && most === null) return true;
      return value === value && value !== undefined && (least === null || value >= least) && (most === null || value <= most);
    }

    /* A text is looked for in callsign, address and squawk. A pattern that is none is explained, and the last good one stays. */
    read() {
      HM.put(this.wrong, "");
      this.search.removeAttribute("aria-invalid");
      const text = this.text.trim();
      if (!text) { this.pattern = null; return; }
      if (!this.isRegex) {
        const wanted = text.toLowerCase();
        this.pattern = (value) => value.toLowerCase().includes(wanted);
        return;
      }
      try {
        const pattern = new RegExp(text, "i");
        this.pattern = (value) => pattern.test(value);
      } catch (error) {
        HM.put(this.wrong, `Not a regular expression: ${error.message.split(": ").at(-1)}. Try ^DLH or \\d{3}$.`);
        this.search.setAttribute("aria-invalid", "true");
      }
    }

    get count() {
      const { alt, speed } = this.ranges;
      return [this.text.trim(), alt.some((edge) => edge !== null), speed.some((edge) => edge !== null), this.country,
        this.category !== "", this.wanted.size].filter(Boolean).length;
    }

    // --- the form ---

    build(parent) {
      const { make } = HM;
      const change = () => { this.show(); this.changed(); };
      this.search = make("input", { type: "search", className: "hm-input", maxLength: MOST_PATTERN, placeholder: "Callsign, ICAO24, squawk",
        aria: { label: "Callsign, ICAO24 or squawk", describedby: "aircraft-wrong" }, oninput: () => {
          clearTimeout(this.typing);
          this.typing = setTimeout(() => { this.text = this.search.value; this.read(); change(); }, TYPING_MS);
        } });
      this.regex = make("button", { type: "button", className: "hm-button", textContent: ".*", title: "As a regular expression",
        aria: { label: "As a regular expression" }, onclick: () => { this.isRegex = !this.isRegex; this.read(); change(); } });
      this.wrong = make("div", { className: "hw-error hm-wrong", id: "aircraft-wrong", role: "alert" });
      this.edges = {};
      const ranges = Object.entries(RANGES).map(([name, [, label]]) => {
        const edge = (which, place) => make("input", { type: "number", className: "hm-input", step: "any", placeholder: place,
          aria: { label: `${label} ${place}` }, oninput: () => { this.readRange(name); this.changed(); this.tell(); } });
        this.edges[name] = [edge(0, "from"), edge(1, "to")];
        const unit = make("span", { className: "hm-unit" });
        this.edges[name].unit = unit;
        return make("div", { className: "hm-range" }, make("span", {}, `${label}, `, unit), ...this.edges[name]);
      });
      const choice = (label, act) => make("select", { className: "hm-select", aria: { label }, onchange: act });
      this.countryChoice = choice("Country", () => { this.country = this.countryChoice.value; change(); });
      this.categoryChoice = choice("Category", () => { this.category = this.categoryChoice.value; change(); });
      this.categoryChoice.append(make("option", { value: "", textContent: "All categories" }),
        ...this.categories.map((name, number) => make("option", { value: number, textContent: name })));
      this.chips = this.phases.map((phase, number) => make("button", { type: "button", className: `hm-chip hm-phase hm-phase-${phase}`, textContent: phase,
        aria: { pressed: "false" }, onclick: () => { this.wanted.has(number) ? this.wanted.delete(number) : this.wanted.add(number); change(); } }));
      this.only = make("input", { type: "checkbox", onchange: () => { this.inView = this.only.checked; change(); } });
      this.reset = make("button", { type: "button", className: "hm-button", textContent: "Reset", title: "Show all aircraft again",
        onclick: () => { this.clear(); this.read(); change(); } });
      this.title = make("summary");
      this.box = make("details", { className: "hm-filters", open: window.innerWidth > 900 }, this.title,
        make("div", { className: "hm-search" }, this.search, this.regex), this.wrong, ...ranges,
        make("div", { className: "hm-range" }, this.countryChoice, this.categoryChoice),
        make("div", { className: "hm-chips", role: "group", aria: { label: "Only these phases" } }, ...this.chips));
      parent.replaceChildren(this.box, make("div", { className: "hm-only" }, make("label", {}, this.only, " In view only"), this.reset));
      this.offer([]);
      this.show();
    }

    readRange(name) {
      const [, label] = RANGES[name], factor = this.units()[RANGES[name][0]][1];
      this.ranges[name] = this.edges[name].map((edge) => (edge.value.trim() === "" || !label ? null : Number(edge.value) / factor));
    }

    tell() {
      HM.put(this.title, this.count ? `Filters (${this.count} set)` : "Filters");
      this.reset.disabled = !this.count && this.inView;
    }

    /* The form as the filters are. */
    show() {
      if (document.activeElement !== this.search) this.search.value = this.text;
      this.regex.setAttribute("aria-pressed", String(this.isRegex));
      for (const [name, [kind]] of Object.entries(RANGES)) {
        const [unit, factor] = this.units()[kind];
        HM.put(this.edges[name].unit, unit);
        this.edges[name].forEach((edge, which) => {
          const value = this.ranges[name][which];
          if (document.activeElement !== edge) edge.value = value === null ? "" : Math.round(value * factor);
        });
      }
      this.countryChoice.value = this.country;
      this.categoryChoice.value = this.category;
      this.chips.forEach((chip, number) => chip.setAttribute("aria-pressed", String(this.wanted.has(number))));
      this.only.checked = this.inView;
      this.tell();
    }

    /* The countries there are, now and then. */
    offer(rows) {
      const now = performance.now();
      if (rows.length && now - (this.offered ?? -COUNTRIES_MS) < COUNTRIES_MS) return;
      this.offered = rows.length ? now : undefined;
      const found = new Set(rows.map((row) => row.words?.[1]).filter(Boolean));
      if (this.country) found.add(this.country);
      const wanted = ["", ...[...found].sort(names.compare)];
      const held = [...this.countryChoice.options].map((option) => option.value);
      if (wanted.length === held.length && wanted.every((name, at) => name === held[at])) return;
      this.countryChoice.replaceChildren(...wanted.map((name) => HM.make("option", { value: name, textContent: name || "All countries" })));
      this.countryChoice.value = this.country;
    }

    // --- the address ---

    save(words) {
      if (this.text.trim()) words.set("q", this.text.trim());
      if (this.isRegex) words.set("regex", "1");
      for (const [name, [least, most]] of Object.entries(this.ranges)) {
        if (least !== null || most !== null) words.set(name, [least, most].map((edge) => (edge === null ? "" : Number(edge.toFixed(1)))).join("~"));
      }
      if (this.country) words.set("country", this.country);
      if (this.category !== "") words.set("category", this.category);
      if (this.wanted.size) words.set("phase", [...this.wanted].map((number) => this.phases[number]).join(","));
      if (!this.inView) words.set("all", "1");
    }

    restore(words) {
      this.clear();
      this.text = (words.get("q") ?? "").slice(0, MOST_PATTERN);
      this.isRegex = words.get("regex") === "1";
      for (const name of Object.keys(RANGES)) {
        const edges = (words.get(name) ?? "").split("~").map((edge) => (edge === "" || !Number.isFinite(Number(edge)) ? null : Number(edge)));
        this.ranges[name] = [edges[0] ?? null, edges[1] ?? null];
      }
      this.country = words.get("country") ?? "";
      const category = words.get("category") ?? "";
      this.category = this.categories[category] === undefined ? "" : category;
      this.wanted = new Set((words.get("phase") ?? "").split(",").map((phase) => this.phases.indexOf(phase)).filter((number) => number >= 0));
      this.inView = words.get("all") !== "1";
      this.offer([]);
      this.read();
      this.search.value = this.text;
      this.show();
    }
  };
})();
