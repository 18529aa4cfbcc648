/* Positions pushed in binary frames (dashboards/maps/frames.py): decoded, and a socket that comes back by itself,
   rests in a hidden tab and ends with the page. */
(() => {
  "use strict";
  const HM = (window.HeadwaterMap = window.HeadwaterMap || {});
  const MAGIC = 0x314d5748, UNITS = 1e7, HEAD = 16, NOWHERE = -(2 ** 31);
  const HIDDEN_MS = 60000, LEAST_RETRY_MS = 500, MOST_RETRY_MS = 8000;

  /* `more`: the names of what the page has beside what all have. */
  HM.decode = (buffer, { measures = [], codes = [] } = {}) => {
    const [magic, count] = new Uint32Array(buffer, 0, 2);
    if (magic !== MAGIC) throw new Error("not a frame");
    let offset = HEAD;
    const column = (Type) => {
      const found = new Type(buffer, offset, count);
      offset += found.byteLength;
      return found;
    };
    const columns = (names, Type) => names.map((name) => [name, column(Type)]);
    return {
      count, now: new Float64Array(buffer, 8, 1)[0],
      time: column(Float64Array), heard: column(Float64Array), marker: column(Uint32Array),
      longitude: column(Int32Array), latitude: column(Int32Array),
      speed: column(Float32Array), heading: column(Float32Array), measures: columns(measures, Float32Array),
      state: column(Uint8Array), mark: column(Uint8Array), codes: columns(codes, Uint8Array),
      units: UNITS, nowhere: NOWHERE,
    };
  };

  HM.Socket = class {
    constructor(path, { names, frame, state, more }) {
      this.url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`;
      this.heard = { names, frame, state };
      this.more = more;
      this.retry = LEAST_RETRY_MS;
      this.hide = () => {
        clearTimeout(this.hiding);
        if (document.hidden) this.hiding = setTimeout(() => this.rest(), HIDDEN_MS);
        else if (!this.socket) this.open();
      };
      document.addEventListener("visibilitychange", this.hide);
      this.open();
    }

    open() {
      clearTimeout(this.waiting);
      const socket = (this.socket = new WebSocket(this.url));
      socket.binaryType = "arraybuffer";
      socket.onmessage = ({ data }) => {
        if (typeof data === "string") this.heard.names(JSON.parse(data));
        else this.heard.frame(HM.decode(data, this.more));
      };
      socket.onopen = () => { this.retry = LEAST_RETRY_MS; this.heard.state(true); };
      socket.onclose = () => {
        if (this.socket !== socket) return;
        this.heard.state(false);
        this.waiting = setTimeout(() => this.open(), this.retry);
        this.retry = Math.min(2 * this.retry, MOST_RETRY_MS);
      };
    }

    rest() {
      clearTimeout(this.waiting);
      const socket = this.socket;
      this.socket = null;
      socket?.close();
    }

    close() {
      document.removeEventListener("visibilitychange", this.hide);
      clearTimeout(this.hiding);
      this.rest();
    }
  };
})();
