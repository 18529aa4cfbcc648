/* A recorded span, played on the map: markers glide from fix to fix, and a clock of its own says where they are. */
(() => {
  "use strict";
  const HM = (window.HeadwaterMap = window.HeadwaterMap || {});
  const UNITS = 1e7, RAD = Math.PI / 180, TRAIL_SECONDS = 900;

  /* See dashboards/pages/trucks_replay.py. */
  HM.decodeReplay = (buffer) => {
    const size = new Uint32Array(buffer, 0, 1)[0];
    const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
    let offset = 4 + size;
    const column = (Type) => {
      const found = new Type(buffer, offset, head.count);
      offset += found.byteLength;
      return found;
    };
    return { ...head, time: column(Float64Array), longitude: column(Int32Array), latitude: column(Int32Array),
      speed: column(Float32Array), heading: column(Float32Array) };
  };

  HM.Replay = class {
    /* `options`: offline and pause (s), moving (km/h). Times of the replay are seconds since 1970. */
    constructor(map, data, options) {
      Object.assign(this, { map, data, options });
      this.begin = data.count ? data.time.reduce((least, time) => Math.min(least, time), Infinity) / 1000 : data.since / 1000;
      this.end = data.count ? data.time.reduce((most, time) => Math.max(most, time), -Infinity) / 1000 : data.until / 1000;
      this.speed = 30;
      this.at = this.begin;
      this.playing = false;
      this.next = new Int32Array(data.trucks.length); // each truck's first fix after the clock
      map.clock = () => this.at;
      map.clear();
      map.names(data.trucks.map((id, number) => [number, id, ...(options.words(id) ?? [])]));
      this.seek(this.begin);
    }

    last(truck) { return truck + 1 < this.data.starts.length ? this.data.starts[truck + 1] : this.data.count; }

    play(on) {
      if (on && this.at >= this.end) this.seek(this.begin);
      this.playing = on;
      this.before = performance.now();
    }

    seek(seconds) {
      this.at = Math.min(Math.max(seconds, this.begin), this.end);
      this.data.trucks.forEach((_, truck) => {
        let low = this.data.starts[truck], high = this.last(truck);
        while (low < high) {
          const middle = (low + high) >> 1;
          if (this.data.time[middle] / 1000 <= this.at) low = middle + 1;
          else high = middle;
        }
        this.next[truck] = low;
        this.place(truck);
      });
      this.map.changed = true;
    }

    /* With the screen's frames; markers that have passed a fix set out for the next. */
    tick() {
      const now = performance.now();
      if (!this.playing) { this.before = now; return; }
      this.at = Math.min(this.at + ((now - this.before) / 1000) * this.speed, this.end);
      this.before = now;
      if (this.at >= this.end) this.playing = false;
      const { time, trucks } = this.data, at = this.at * 1000;
      for (let truck = 0; truck < trucks.length; truck++) {
        const last = this.last(truck), first = this.next[truck];
        while (this.next[truck] < last && time[this.next[truck]] <= at) this.next[truck]++;
        if (this.next[truck] !== first) this.place(truck);
      }
    }

    place(truck) {
      const { data, map, options } = this, row = map.rows[truck], here = this.next[truck] - 1;
      if (here < data.starts[truck]) {
        row.time = undefined;
        row.shown = false;
        map.markers.look(truck, 0, 0, 0, false, 0);
        return;
      }
      const seconds = data.time[here] / 1000, there = here + 1 < this.last(truck) ? here + 1 : here;
      const gap = data.time[there] / 1000 - seconds;
      const x = HM.mercatorX(data.longitude[here] / UNITS), y = HM.mercatorY(data.latitude[here] / UNITS);
      const glides = gap > 0 && gap <= options.pause;
      let dx = glides ? HM.mercatorX(data.longitude[there] / UNITS) - x : 0;
      dx -= Math.round(dx);
      const dy = glides ? HM.mercatorY(data.latitude[there] / UNITS) - y : 0;
      const heading = data.heading[here], towards = dx || dy ? Math.atan2(dx, -dy) : 0;
      const angle = heading === heading ? heading * RAD : towards;
      const world = Math.hypot(dx, dy) * 40075 * Math.cos((data.latitude[here] / UNITS) * RAD);
      const speed = data.speed[here] === data.speed[here] ? data.speed[here] : glides ? (world / gap) * 3600 : NaN;
      map.markers.move(truck, x, y, glides ? dx / gap : 0, glides ? dy / gap : 0, angle, seconds, glides ? gap : 0, 0, this.at);
      Object.assign(row, { time: data.time[here], heard: data.time[here], longitude: data.longitude[here] / UNITS,
        latitude: data.latitude[here] / UNITS, speed, heading: angle / RAD, alarm: false });
      row.heading = ((row.heading % 360) + 360) % 360;
      this.judge(row);
      map.look(row, this.at);
    }

    judge(row) {
      const silent = this.at - row.time / 1000 > this.options.offline;
      row.state = silent ? 2 : row.speed >= this.options.moving ? 0 : 1;
    }

    /* A truck's fixes of the last quarter of an hour before the clock. */
    trail(truck) {
      const { time, longitude, latitude, starts } = this.data, path = [];
      for (let at = this.next[truck] - 1; at >= starts[truck] && time[at] / 1000 > this.at - TRAIL_SECONDS; at--) {
        path.push([longitude[at] / UNITS, latitude[at] / UNITS, time[at]]);
      }
      return path.reverse();
    }

    /* Every place there is, as mercator: where the whole span can be seen. */
    places() {
      const { longitude, latitude, count } = this.data;
      return Array.from({ length: count }, (_, at) => [HM.mercatorX(longitude[at] / UNITS), HM.mercatorY(latitude[at] / UNITS)]);
    }

    close() { this.map.clock = null; }
  };
})();
