"use strict";
// Draws what the chosen month shows; charts stay once drawn, maps go again, for a browser has few WebGL contexts.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const chosen = document.getElementById("month");
  const maps = new Map();

  const collection = (features) => ({ type: "FeatureCollection", features });
  const source = (features) => ({ type: "geojson", data: features });

  function land() {
    const of = (kind) => source(collection(data.basemap.features.filter((one) => one.properties.kind === kind)));
    const { land, sea, border, muted } = data.colours;
    return {
      version: 8,
      sources: {
        sea: of("sea"), coastline: of("coastline"), neighbourhood: of("neighbourhood"),
        names: source(collection(data.names.map((one) => ({
          type: "Feature", properties: { name: one.name },
          geometry: { type: "Point", coordinates: [one.longitude, one.latitude] },
        })))),
      },
      layers: [
        { id: "land", type: "background", paint: { "background-color": land } },
        { id: "sea", type: "fill", source: "sea", paint: { "fill-color": sea } },
        { id: "borders", type: "line", source: "neighbourhood", paint: { "line-color": border, "line-width": 1 } },
        { id: "coast", type: "line", source: "coastline", paint: { "line-color": "#8fb0c2", "line-width": 1.5 } },
        {
          id: "names", type: "symbol", source: "names",
          layout: { "text-field": ["get", "name"], "text-size": 12, "text-font": ["sans-serif"] },
          paint: { "text-color": muted, "text-halo-color": land, "text-halo-width": 1.5 },
        },
      ],
    };
  }

  function text(id, from, size, paint, layout) {
    return {
      id, type: "symbol", source: from, paint,
      layout: { "text-field": ["get", "label"], "text-size": size, "text-font": ["sans-serif"], ...layout },
    };
  }

  const layers = {
    places: () => [{
      id: "points", type: "circle", source: "points",
      paint: {
        "circle-radius": ["get", "radius"], "circle-color": ["get", "colour"], "circle-opacity": 0.85,
        "circle-stroke-color": "#fff", "circle-stroke-width": 1,
      },
    }],
    track: () => {
      const { offer, ink, muted } = data.colours;
      return [
        { id: "line", type: "line", source: "line", paint: { "line-color": muted, "line-width": 1.5 } },
        {
          id: "points", type: "circle", source: "points",
          paint: { "circle-radius": 4, "circle-color": ["get", "colour"], "circle-stroke-color": "#fff", "circle-stroke-width": 0.7 },
        },
        { id: "ways", type: "line", source: "ways", paint: { "line-color": offer, "line-width": 2, "line-dasharray": [2, 1.5] } },
        {
          id: "places", type: "circle", source: "places",
          paint: { "circle-radius": 5, "circle-color": ink, "circle-stroke-color": "#fff", "circle-stroke-width": 1.5 },
        },
        {
          id: "offers", type: "circle", source: "offers",
          paint: { "circle-radius": 9, "circle-color": offer, "circle-stroke-color": "#fff", "circle-stroke-width": 1.5 },
        },
        text("numbers", "offers", 12, { "text-color": "#fff" }, { "text-allow-overlap": true, "text-ignore-placement": true }),
        text("labels", "places", 13, { "text-color": ink, "text-halo-color": "#fff", "text-halo-width": 2 }, { "text-variable-anchor": ["bottom", "top", "left", "right"], "text-radial-offset": 0.9, "text-justify": "auto" }),
      ];
    },
  };

  function drawMap(element) {
    const one = data.maps[element.dataset.map];
    let map;
    try {
      map = new maplibregl.Map({
        container: element, style: land(), bounds: one.bounds, attributionControl: false,
        dragRotate: false, pitchWithRotate: false, touchPitch: false, fadeDuration: 0,
      });
    } catch (error) {
      const picture = document.createElement("img"); // There is no WebGL here: the picture that lies beside the page.
      picture.src = element.dataset.picture;
      picture.alt = element.getAttribute("aria-label");
      element.replaceChildren(picture);
      return null;
    }
    map.scrollZoom.disable(); // The wheel scrolls the page.
    map.addControl(new maplibregl.NavigationControl({ showCompass: false }));
    map.addControl(new maplibregl.ScaleControl({ unit: "metric" }));
    const popup = new maplibregl.Popup({ closeButton: false, closeOnClick: false, maxWidth: "320px" });
    map.on("load", () => {
      for (const [name, value] of Object.entries(one)) {
        if (value.type === "FeatureCollection") map.addSource(name, source(value));
      }
      layers[one.kind]().forEach((layer) => map.addLayer(layer));
      map.resize(); // The page may have been laid out anew since.
      map.fitBounds(one.bounds, { animate: false });
      element.dataset.drawn = "true";
    });
    const told = ["points", "offers", "places"];
    map.on("mousemove", (event) => {
      const found = map.queryRenderedFeatures(event.point, { layers: told.filter((id) => map.getLayer(id)) });
      map.getCanvas().style.cursor = found.length ? "pointer" : "";
      if (!found.length) return popup.remove();
      const rank = (one) => ["offers", "places", "points"].indexOf(one.layer.id);
      const first = found.reduce((a, b) => (rank(b) < rank(a) ? b : a));
      return popup.setLngLat(first.geometry.coordinates).setText(first.properties.said).addTo(map);
    });
    map.on("mouseout", () => popup.remove());
    return map;
  }

  async function show() {
    const drawn = [];
    for (const article of document.querySelectorAll("article")) {
      const { month } = article.dataset;
      article.hidden = month !== undefined && month !== chosen.value;
      for (const element of article.hidden ? article.querySelectorAll("[data-map]") : []) {
        maps.get(element)?.remove();
        maps.delete(element);
      }
      if (article.hidden) continue;
      for (const element of article.querySelectorAll("[data-chart]:not([data-drawn])")) {
        element.dataset.drawn = "true";
        drawn.push(vegaEmbed(element, data.charts[element.dataset.chart], { actions: false, renderer: "svg" }));
      }
    }
    await Promise.all(drawn); // Charts take their place first, then the maps fit into what is left.
    for (const element of document.querySelectorAll("article:not([hidden]) [data-map]")) {
      if (!maps.has(element)) maps.set(element, drawMap(element));
    }
  }

  chosen.addEventListener("change", show);
  show();
})();
