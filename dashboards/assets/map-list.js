/* The list beside a map: only the rows in sight exist, so that thousands cost what twenty do. */
(() => {
  "use strict";
  const HM = (window.HeadwaterMap = window.HeadwaterMap || {});
  const ROW_PX = 46;

  HM.List = class {
    /* `fill(element, row)` writes a row; `choose(id)` and `hover(id)` are told. */
    constructor(parent, { label, empty, fill, choose, hover }) {
      this.told = { fill, choose, hover };
      this.rows = [];
      this.selected = this.hovered = null;
      this.empty = Object.assign(document.createElement("div"), { className: "hw-empty", textContent: empty, hidden: true });
      this.box = Object.assign(document.createElement("div"), { className: "hm-list", tabIndex: 0, role: "listbox" });
      this.box.setAttribute("aria-label", label);
      this.inner = document.createElement("div");
      this.box.append(this.inner);
      parent.append(this.empty, this.box);
      this.pool = [];
      this.box.addEventListener("scroll", () => this.draw(), { passive: true });
      this.box.addEventListener("click", (event) => choose(event.target.closest("[data-id]")?.dataset.id ?? null));
      this.box.addEventListener("pointerover", (event) => hover(event.target.closest("[data-id]")?.dataset.id ?? null));
      this.box.addEventListener("pointerleave", () => hover(null));
      this.box.addEventListener("keydown", (event) => this.key(event));
      this.watch = new ResizeObserver(() => this.draw());
      this.watch.observe(this.box);
    }

    close() { this.watch.disconnect(); }

    show(rows) {
      this.rows = rows;
      this.empty.hidden = rows.length > 0;
      this.box.hidden = rows.length === 0;
      this.inner.style.height = `${rows.length * ROW_PX}px`;
      this.draw();
    }

    mark(selected, hovered) {
      if (selected === this.selected && hovered === this.hovered) return;
      const moved = selected !== this.selected;
      Object.assign(this, { selected, hovered });
      const at = moved ? this.rows.findIndex((row) => row.id === selected) : -1;
      if (at >= 0) {
        const top = at * ROW_PX, { scrollTop, clientHeight } = this.box;
        if (top < scrollTop) this.box.scrollTop = top;
        else if (top + ROW_PX > scrollTop + clientHeight) this.box.scrollTop = top + ROW_PX - clientHeight;
      }
      this.draw();
    }

    draw() {
      const first = Math.max(Math.floor(this.box.scrollTop / ROW_PX), 0);
      const count = Math.min(Math.ceil(this.box.clientHeight / ROW_PX) + 1, this.rows.length - first);
      while (this.pool.length < count) {
        const made = Object.assign(document.createElement("div"), { className: "hm-row", role: "option" });
        this.inner.append(made);
        this.pool.push(made);
      }
      this.pool.forEach((shown, place) => {
        const row = this.rows[first + place];
        shown.hidden = place >= count || !row;
        if (shown.hidden) return;
        shown.dataset.id = row.id;
        shown.id = `hm-row-${row.number}`;
        shown.style.transform = `translateY(${(first + place) * ROW_PX}px)`;
        shown.classList.toggle("is-selected", row.id === this.selected);
        shown.classList.toggle("is-hovered", row.id === this.hovered);
        shown.setAttribute("aria-selected", String(row.id === this.selected));
        this.told.fill(shown, row);
      });
      const chosen = this.rows.find((row) => row.id === this.selected);
      if (chosen) this.box.setAttribute("aria-activedescendant", `hm-row-${chosen.number}`);
      else this.box.removeAttribute("aria-activedescendant");
    }

    key(event) {
      const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8, Home: -Infinity, End: Infinity }[event.key];
      if (event.key === "Escape") this.told.choose(null);
      if (step === undefined || !this.rows.length) return;
      event.preventDefault();
      const at = this.rows.findIndex((row) => row.id === this.selected);
      const next = Math.min(Math.max(at < 0 ? 0 : at + step, 0), this.rows.length - 1);
      this.told.choose(this.rows[next].id);
    }
  };
})();
