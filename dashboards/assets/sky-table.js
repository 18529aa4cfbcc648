/* The table of the page /aircraft: of all that fits the first few hundred in the chosen order, filled by the browser.
   The order is made here, over all of them; the grid only shows it. */
(() => {
  "use strict";
  const HM = (window.HeadwaterMap = window.HeadwaterMap || {});
  const GRID = "aircraft-table";
  const names = new Intl.Collator("en", { numeric: true });
  const UNIT_OF = { altitude: "altitude", speed: "speed", rate: "rate" };

  let units = null;
  window.dashAgGridFunctions = Object.assign(window.dashAgGridFunctions || {}, {
    aircraftHeader: (field, name) => (units && UNIT_OF[field] ? `${name}, ${units[UNIT_OF[field]][0]}` : name),
    aircraftOrder: () => 0,
  });

  HM.SkyTable = class {
    /* `value(row, field)` is what a cell shows. */
    constructor({ most, value, choose, sorted }) {
      Object.assign(this, { most, value });
      this.sort = { field: "name", isDescending: false };
      window.dash_ag_grid.getApiAsync(GRID).then((api) => {
        if (this.closed) return;
        this.api = api;
        const choice = ({ data }) => data && choose(data.id);
        this.listeners = {
          rowClicked: choice,
          cellKeyDown: (event) => { if (event.event.key === "Enter") choice(event); },
          sortChanged: () => { this.readSort(); sorted(); },
        };
        for (const [name, act] of Object.entries(this.listeners)) api.addEventListener(name, act);
        this.restore(this.sort);
      });
    }

    close() {
      this.closed = true;
      if (!this.api || this.api.isDestroyed()) return;
      for (const [name, act] of Object.entries(this.listeners)) this.api.removeEventListener(name, act);
    }

    setUnits(found) {
      units = found;
      this.api?.refreshHeader();
    }

    readSort() {
      const column = this.api.getColumnState().find(({ sort }) => sort);
      this.sort = column ? { field: column.colId, isDescending: column.sort === "desc" } : { field: "name", isDescending: false };
    }

    /* As the address has it; a column that there is none of is left out. */
    restore({ field, isDescending }) {
      this.sort = { field, isDescending };
      this.api?.applyColumnState({ state: [{ colId: field, sort: isDescending ? "desc" : "asc" }], defaultState: { sort: null } });
    }

    /* Rows that fit; gives how many are left out. What is empty comes last in either order. */
    show(rows, selected) {
      if (!this.api || this.api.isDestroyed()) return 0;
      const { field, isDescending } = this.sort, sign = isDescending ? -1 : 1;
      const keyed = rows.map((row) => [this.value(row, field), row]);
      keyed.sort(([a, first], [b, second]) => {
        const isEmpty = (a === null || a === "") - (b === null || b === "");
        if (isEmpty) return isEmpty;
        return (typeof a === "string" ? names.compare(a, b) : a - b) * sign || first.number - second.number;
      });
      const fields = this.api.getColumns().map((column) => column.getColId());
      this.api.setGridOption("rowData", keyed.slice(0, this.most).map(([, row]) =>
        Object.fromEntries(fields.map((name) => [name, this.value(row, name)]))));
      this.mark(selected);
      return Math.max(rows.length - this.most, 0);
    }

    mark(id) {
      const node = id === null ? null : this.api?.getRowNode(id);
      if (node && !node.isSelected()) node.setSelected(true, true);
      else if (!node) this.api?.deselectAll();
    }
  };
})();
