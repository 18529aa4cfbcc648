/* What lies under the markers: land, borders, areas and trails by deck.gl; graticule and names on a canvas. */
(() => {
  "use strict";
  const HM = (window.HeadwaterMap = window.HeadwaterMap || {});
  const RAD = Math.PI / 180, TILE = 512, EDGE = 85.0511, EARTH_M = 40075016.686, CREDIT_PX = 260;
  const STEPS = [30, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01];
  const AIRPORTS_FROM_ZOOM = 6, ALL_AIRPORTS_FROM_ZOOM = 9, AIRPORT_NAMES_FROM_ZOOM = 10.5;
  const MOST_PATH_POINTS = 6000; // deck's paths are beautiful and dear: beyond it trails are plain lines

  HM.mercatorX = (longitude) => (longitude + 180) / 360;
  HM.mercatorY = (latitude) => {
    const sin = Math.sin(Math.min(Math.max(latitude, -EDGE), EDGE) * RAD);
    return 0.5 - Math.log((1 + sin) / (1 - sin)) / (4 * Math.PI);
  };
  HM.longitude = (x) => x * 360 - 180;
  HM.latitude = (y) => Math.atan(Math.sinh(Math.PI * (1 - 2 * y))) / RAD;
  HM.worldSize = (zoom) => TILE * 2 ** zoom;

  let loading;
  /* deck.gl and the land, once; `files` are addresses by name. */
  HM.load = (files) => (loading ??= Promise.all([script(files["deck.js"]), land(files["land.bin"])]).catch((error) => {
    loading = undefined;
    throw error;
  }));

  const script = (src) => new Promise((resolve, reject) => {
    const element = Object.assign(document.createElement("script"), { src, async: true });
    element.onload = resolve;
    element.onerror = () => reject(new Error(`cannot load ${src}`));
    document.head.append(element);
  });

  const bytes = async (url) => {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
    return answer;
  };

  /* See dashboards/maps/make_land.py. */
  const land = async (url) => {
    const data = new Int32Array(await (await bytes(url)).arrayBuffer());
    const [vertices, triangles, borders, coast] = data;
    let offset = 4;
    const places = new Float32Array(2 * vertices);
    for (const axis of [0, 1]) {
      for (let i = 0, sum = 0; i < vertices; i++) places[2 * i + axis] = (sum += data[offset++]) / 1e4;
    }
    const rows = (count, corners) => {
      const numbers = new Uint32Array(count * corners);
      for (let row = 0, first = 0, at = 0; row < count; row++) {
        numbers[at++] = first += data[offset++];
        for (let corner = 1; corner < corners; corner++) numbers[at++] = first + data[offset++];
      }
      return numbers;
    };
    HM.land = { places, triangles: rows(triangles, 3), borders: rows(borders, 2), coast: rows(coast, 2) };
  };

  let towns;
  HM.towns = (url) => (towns ??= bytes(url).then((answer) => answer.json()).then((rows) =>
    rows.map(([name, longitude, latitude, people]) =>
      ({ name, x: HM.mercatorX(longitude), y: HM.mercatorY(latitude), people }))));

  let airports;
  HM.airports = (url) => (airports ??= bytes(url).then((answer) => answer.json()).then((rows) =>
    rows.map(([code, longitude, latitude, name, isKnown]) =>
      ({ code, x: HM.mercatorX(longitude), y: HM.mercatorY(latitude), name, isKnown }))));

  /* A layer of one colour from a list of triangles or lines, drawn in one call: no instances, no attributes to make. */
  let Flat;
  const flat = (props) => {
    Flat ??= class extends window.deck.Layer {
      _getAttributeManager() { return null; }
      initializeState() {
        const { color, places, indices, topology } = this.props;
        const shaders = super.getShaders({
          vs: `#version 300 es
in vec2 place;
void main() { gl_Position = project_position_to_clipspace(vec3(place, 0.0), vec3(0.0), vec3(0.0)); }`,
          fs: `#version 300 es
precision highp float;
out vec4 paint;
void main() { paint = vec4(${color.map((part) => (part / 255).toFixed(4)).join(", ")}); }`,
          modules: [window.deck.project32],
        });
        this.setState({ model: new window.luma.Model(this.context.device, {
          ...shaders,
          id: this.props.id,
          geometry: new window.luma.Geometry({ topology, attributes: { place: { size: 2, value: places } }, indices }),
          isInstanced: false,
          parameters: { depthWriteEnabled: false, depthCompare: "always" },
        }) });
      }
      draw({ renderPass }) { this.state.model.draw(renderPass); }
      finalizeState(context) {
        super.finalizeState(context);
        this.state.model?.destroy();
      }
    };
    Flat.layerName = "FlatLayer";
    return new Flat({ pickable: false, ...props });
  };

  const COLOURS = {
    light: { sea: "#dbe6ee", land: [250, 249, 246, 255], border: [176, 170, 186, 255], coast: [150, 172, 188, 255],
      grid: "rgba(70,100,130,.16)", text: "#3d4854", airport: "#8a4b6b", halo: "rgba(255,255,255,.85)", faint: "#6b7886" },
    dark: { sea: "#12171d", land: [36, 41, 48, 255], border: [86, 92, 108, 255], coast: [62, 82, 100, 255],
      grid: "rgba(150,180,210,.11)", text: "#c3cbd4", airport: "#d39ab6", halo: "rgba(20,23,28,.85)", faint: "#8994a0" },
  };

  HM.Base = class {
    constructor(parent, words, { onView }) {
      this.words = words;
      this.theme = "light";
      this.areas = [];
      this.trails = [];
      this.deck = new window.deck.Deck({
        parent,
        width: "100%",
        height: "100%",
        views: new window.deck.MapView({ repeat: true }),
        controller: { dragRotate: false, touchRotate: false, keyboard: true, inertia: 250, scrollZoom: { speed: 0.01 } },
        viewState: { longitude: 0, latitude: 0, zoom: 1 },
        pickingRadius: 0,
        // It also says so when it has merely been resized, and then what it was made with.
        onViewStateChange: ({ viewState, interactionState }) => {
          if (Object.values(interactionState ?? {}).some(Boolean)) onView(viewState);
        },
        onError: (error) => console.error(error), // eslint-disable-line no-console
        getCursor: ({ isDragging }) => (isDragging ? "grabbing" : "inherit"),
        layers: [],
      });
    }

    get colours() { return COLOURS[this.theme]; }

    show({ theme, areas, trails, tiles }) {
      this.theme = theme ?? this.theme;
      this.areas = areas ?? this.areas;
      this.trails = trails ?? this.trails;
      this.tiles = tiles ?? this.tiles;
      this.deck.setProps({ layers: this.layers() });
    }

    layers() {
      const { land: ground, border, coast } = this.colours, { places, triangles, borders, coast: shore } = HM.land;
      const under = this.tiles ? [this.tileLayer()] : [
        flat({ id: `land-${this.theme}`, places, indices: triangles, topology: "triangle-list", color: ground }),
        flat({ id: `coast-${this.theme}`, places, indices: shore, topology: "line-list", color: coast }),
        flat({ id: `borders-${this.theme}`, places, indices: borders, topology: "line-list", color: border }),
      ];
      return [...under, this.areaLayer(), this.trailLayer()].filter(Boolean);
    }

    tileLayer() {
      return new window.deck.TileLayer({
        id: "tiles", data: this.tiles, minZoom: 0, maxZoom: 19, tileSize: 256,
        renderSubLayers: ({ data, tile, ...props }) => {
          const [[west, south], [east, north]] = tile.boundingBox;
          return new window.deck.BitmapLayer(props, { data: null, image: data, bounds: [west, south, east, north] });
        },
      });
    }

    areaLayer() {
      return this.areas.length && new window.deck.GeoJsonLayer({
        id: `areas-${this.theme}`,
        data: this.areas,
        pickable: false,
        filled: true,
        stroked: true,
        getFillColor: ({ properties }) => [...properties.colours[this.theme], 40],
        getLineColor: ({ properties }) => [...properties.colours[this.theme], 220],
        getLineWidth: 1.5,
        lineWidthUnits: "pixels",
      });
    }

    trailLayer() {
      if (!this.trails.length) return null;
      const points = this.trails.reduce((sum, trail) => sum + trail.path.length, 0);
      if (points <= MOST_PATH_POINTS) {
        return new window.deck.PathLayer({
          id: "trails", data: this.trails, pickable: false, getPath: (trail) => trail.path, positionFormat: "XY",
          getColor: (trail) => trail.colour, getWidth: (trail) => trail.width, widthUnits: "pixels",
          jointRounded: true, capRounded: true,
        });
      }
      const places = new Float32Array(2 * points), indices = new Uint32Array(2 * (points - this.trails.length));
      let place = 0, at = 0;
      for (const { path } of this.trails) {
        path.forEach(([longitude, latitude], step) => {
          if (step) indices.set([place - 1, place], 2 * at++);
          places.set([longitude, latitude], 2 * place++);
        });
      }
      // A list of lines cannot be changed, only made anew: so each has a name of its own.
      this.made = (this.made ?? 0) + 1;
      return flat({ id: `trails-${this.made}`, places, indices, topology: "line-list", color: [...this.trails[0].colour.slice(0, 3), 255] });
    }

    /* With the view as given, at once, so that what lies above it can be drawn in the same frame. */
    draw(view) {
      this.deck.setProps({ viewState: { longitude: HM.longitude(view.x), latitude: HM.latitude(view.y), zoom: view.zoom,
        minZoom: view.minZoom, maxZoom: view.maxZoom, pitch: 0, bearing: 0 } });
      this.deck.redraw("view");
    }

    rest() { this.deck.animationLoop?.stop(); }

    wake() { this.deck.animationLoop?.start(); }

    /* Graticule, airports, names of towns and areas; names give way to those before them. */
    drawWords(view, towns, airports) {
      const context = HM.prepared(this.words, view), { colours } = this;
      context.clearRect(0, 0, view.width, view.height);
      this.drawGraticule(context, view, colours);
      const taken = [];
      context.textAlign = "center";
      context.lineJoin = "round";
      for (const { properties } of this.areas) {
        const [x, y] = HM.onScreen(view, properties.x, properties.y);
        if (properties.size * view.world > 14 || view.zoom > 8.5) {
          context.font = "600 11px system-ui, sans-serif";
          this.word(context, properties.name, x, y + 4, taken, `rgb(${properties.colours[this.theme]})`, colours.halo, view);
        }
      }
      if (airports && view.zoom >= AIRPORTS_FROM_ZOOM) this.drawAirports(context, view, airports, taken);
      if (!towns || this.tiles) return;
      // From a village in the streets' scale to capitals on the globe.
      const least = view.zoom >= 9 ? 0 : 10 ** (7 - 0.34 * Math.max(view.zoom - 1, 0));
      const most = Math.round((view.width * view.height) / 16000);
      let shown = 0;
      for (const town of towns) {
        if (town.people < least || shown >= most) break;
        const [x, y] = HM.onScreen(view, town.x, town.y);
        if (x < 0 || y < 0 || x > view.width || y > view.height) continue;
        const big = town.people > 8 * least;
        context.font = `${big ? "500 12px" : "11px"} system-ui, sans-serif`;
        if (!this.word(context, town.name, x, y - 5, taken, big ? colours.text : colours.faint, colours.halo, view)) continue;
        shown += 1;
        context.fillStyle = colours.faint;
        context.fillRect(x - 1.5, y - 1.5, 3, 3);
      }
    }

    /* Those with a code that travellers know; close up all, and with their names. */
    drawAirports(context, view, airports, taken) {
      const { colours } = this;
      context.lineWidth = 1.5;
      for (const { code, x, y, name, isKnown } of airports) {
        if (!isKnown && view.zoom < ALL_AIRPORTS_FROM_ZOOM) break;
        const [px, py] = HM.onScreen(view, x, y);
        if (px < 0 || py < 0 || px > view.width || py > view.height) continue;
        const size = isKnown ? 4 : 2.5;
        context.strokeStyle = colours.airport;
        context.lineWidth = 1.5;
        context.beginPath();
        context.arc(px, py, size, 0, 2 * Math.PI);
        context.moveTo(px - size - 2, py);
        context.lineTo(px + size + 2, py);
        context.stroke();
        context.font = "600 10px system-ui, sans-serif";
        const text = view.zoom >= AIRPORT_NAMES_FROM_ZOOM ? `${code} ${name}` : code;
        this.word(context, text, px, py + 17, taken, colours.airport, colours.halo, view);
      }
    }

    word(context, text, x, y, taken, colour, halo, view) {
      const half = context.measureText(text).width / 2 + 4;
      const box = [x - half, y - 12, x + half, y + 8];
      if (x < -half || y < -10 || x > view.width + half || y > view.height + 10) return false;
      if (taken.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1])) return false;
      taken.push(box);
      context.strokeStyle = halo;
      context.lineWidth = 3;
      context.strokeText(text, x, y);
      context.fillStyle = colour;
      context.fillText(text, x, y);
      return true;
    }

    drawGraticule(context, view, colours) {
      const degree = view.world / 360;
      const step = STEPS.findLast((size) => size * degree >= 110) ?? STEPS[0];
      const west = HM.longitude(view.x) - view.width / 2 / degree, east = west + view.width / degree;
      const north = HM.latitude(view.y - view.height / 2 / view.world);
      const south = HM.latitude(view.y + view.height / 2 / view.world);
      const digits = Math.max(0, -Math.floor(Math.log10(step)));
      context.strokeStyle = colours.grid;
      context.fillStyle = colours.faint;
      context.lineWidth = 1;
      context.font = "10px system-ui, sans-serif";
      context.beginPath();
      context.textAlign = "left";
      for (let line = Math.ceil(west / step) * step; line <= east; line += step) {
        const x = Math.round((line - west) * degree) + 0.5;
        context.moveTo(x, 0);
        context.lineTo(x, view.height);
        const turned = line - 360 * Math.round(line / 360);
        if (x > view.width - CREDIT_PX) continue; // who made the map stands there
        context.fillText(`${Math.abs(turned).toFixed(digits)}°${turned < 0 ? "W" : turned > 0 ? "E" : ""}`, x + 3, view.height - 4);
      }
      for (let line = Math.ceil(south / step) * step; line <= north; line += step) {
        const y = Math.round((HM.mercatorY(line) - view.y) * view.world + view.height / 2) + 0.5;
        context.moveTo(0, y);
        context.lineTo(view.width, y);
        context.fillText(`${Math.abs(line).toFixed(digits)}°${line < 0 ? "S" : line > 0 ? "N" : ""}`, 3, y - 3);
      }
      context.stroke();
    }
  };

  /* A canvas at the screen's resolution, to be drawn on in CSS pixels. */
  HM.prepared = (canvas, view) => {
    const width = Math.round(view.width * view.ratio), height = Math.round(view.height * view.ratio);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.setTransform(view.ratio, 0, 0, view.ratio, 0, 0);
    return context;
  };

  /* From mercator to CSS pixels, on the side of the world that is nearer. */
  HM.onScreen = (view, x, y) => {
    const dx = x - view.x;
    return [(dx - Math.round(dx)) * view.world + view.width / 2, (y - view.y) * view.world + view.height / 2];
  };

  /* A round length for a bar of at most so many pixels at the view's centre: metres and pixels. */
  HM.scale = (view, most) => {
    const metre = view.world / (EARTH_M * Math.cos(HM.latitude(view.y) * RAD));
    const unit = 10 ** Math.floor(Math.log10(most / metre));
    const metres = [5, 2, 1].map((times) => times * unit).find((length) => length * metre <= most);
    return { metres, pixels: metres * metre };
  };
})();
