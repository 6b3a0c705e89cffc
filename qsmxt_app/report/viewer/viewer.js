"use strict";
// The 3-D viewer of a report: takes the volumes out of the page, shows them with NiiVue, serves the controls.
// The page is complete without it: whatever fails here leaves a sentence and nothing else.
(() => {
  const root = document.getElementById("viewer");
  const scans = JSON.parse(document.getElementById("viewer-scans").textContent);
  const byId = (id) => document.getElementById(`viewer-${id}`);
  const canvas = byId("canvas");
  const say = (text) => { byId("message").textContent = text; byId("message").hidden = !text; };
  const decimals = (value, count) => value.toFixed(count).replace("-", "−");

  let nv = null;
  let current = null; // the scan that is shown: its volumes by name
  let place = null; // the crosshair in mm, kept when another scan is chosen

  async function inflated(id) {
    const bytes = Uint8Array.from(atob(document.getElementById(id).textContent.trim()), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
  }

  async function loadLibrary() {
    const script = document.createElement("script");
    // as text, not by address: the page's policy knows this text by its hash and lets nothing else run
    script.textContent = new TextDecoder().decode(await inflated("viewer-library"));
    document.head.append(script);
    if (!window.niivue) throw new Error("the viewer's library did not start");
  }

  function makeViewer() {
    const { Niivue, SHOW_RENDER, DRAG_MODE } = window.niivue;
    return new Niivue({
      backColor: [0, 0, 0, 1],
      crosshairColor: [0.95, 0.75, 0.1, 0.9],
      crosshairWidth: 0.6,
      fontColor: [1, 1, 1, 1],
      dragAndDropEnabled: false,
      dragMode: DRAG_MODE.none,
      isNearestInterpolation: false,
      isRadiologicalConvention: false,
      isColorbar: false,
      logLevel: "error",
      multiplanarShowRender: SHOW_RENDER.NEVER,
      scrollRequiresFocus: true,
      sagittalNoseLeft: false,
      atlasOutline: 1,
      tileMargin: 4,
      loadingText: "",
    });
  }

  const AMBER = [255, 179, 0];
  // as NiiVue's grey, but opaque also at the dark end
  const GREY = { R: [0, 255], G: [0, 255], B: [0, 255], A: [255, 255], I: [0, 255] };
  const PARAMAGNETIC = { R: [0, 255, 255], G: [0, 130, 255], B: [0, 20, 200], A: [0, 160, 255], I: [0, 100, 255] };

  // colours of regions far apart from one another, and the same in every report
  function hue(index) {
    const h = (index * 0.61803398875) % 1;
    const channel = (n) => {
      const k = (n + h * 12) % 12;
      return Math.round(255 * (0.6 - 0.4 * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
    };
    return [channel(0), channel(8), channel(4)];
  }

  // for label images; without opacity, only the border of a region is drawn
  function colourTable(colours, labels, opacity) {
    const channel = (index) => [0, ...colours.map((colour) => colour[index])];
    return {
      R: channel(0), G: channel(1), B: channel(2), A: [0, ...colours.map(() => opacity)],
      I: [0, ...colours.map((_, index) => index + 1)], labels: ["outside", ...labels],
    };
  }

  async function show(scan) {
    say("Loading…");
    const volumes = {};
    const images = [];
    const add = async (name, id, colormap, limits) => {
      if (!id) return;
      const image = await window.niivue.NVImage.new(
        await inflated(id), `${name}.nii`, colormap, 1, null, limits[0], limits[1],
      );
      volumes[name] = image;
      images.push(image);
    };
    const { magnitude, mask, chi, dseg } = scan.volumes;
    await add("magnitude", magnitude, "gray", [0, 255]);
    // the mask twice: once unseen, to make chi transparent outside it, once as a line
    await add("inside", mask, "gray", [0, 1]);
    await add("chi", chi, "opaque-grey", [-0.1, 0.1]);
    await add("mask", mask, "gray", [0, 1]);
    await add("regions", dseg, "gray", [0, scan.regions.length]);
    while (nv.volumes.length) nv.removeVolumeByIndex(nv.volumes.length - 1);
    for (const image of images) nv.addVolume(image);
    current = { scan, volumes };
    if (volumes.mask) volumes.mask.setColormapLabel(colourTable([AMBER], ["mask"], 0));
    if (volumes.regions) {
      const colours = scan.regions.map((_, index) => hue(index + 1));
      volumes.regions.setColormapLabel(colourTable(colours, scan.regions, 255));
    }
    limitSliders();
    offerSwitches();
    draw();
    root.dataset.scan = scan.title;
    const named = scan.title ? `${scan.title}: ` : "";
    canvas.setAttribute("aria-label", `${named}susceptibility map over the magnitude`);
    moveTo(place || middle());
    say("");
  }

  const ticked = (name) => byId(`show-${name}`).checked;
  const number = (name) => Number(byId(name).value);
  const tell = (name, text) => { byId(`${name}-value`).textContent = text; };

  function offerSwitches() {
    for (const name of ["chi", "mask", "regions"]) byId(`switch-${name}`).hidden = !current.volumes[name];
    byId("regions-opacity-row").hidden = !current.volumes.regions;
  }

  const chiWindow = () => [-0.5, 0.5].map((half) => number("level") + half * number("width"));

  // after any change of a control: the words beside it at once, the picture with the next frame
  let awaited = false;
  function draw() {
    const [low, high] = chiWindow();
    byId("low").textContent = decimals(low, 3);
    byId("high").textContent = decimals(high, 3);
    tell("width", `${decimals(number("width"), 2)} ppm`);
    tell("level", `${decimals(number("level"), 2)} ppm`);
    tell("opacity", `${number("opacity")} %`);
    tell("regions-opacity", `${number("regions-opacity")} %`);
    if (awaited) return;
    awaited = true;
    requestAnimationFrame(() => {
      awaited = false;
      paint();
    });
  }

  function paint() {
    const { volumes } = current;
    const inSpace = byId("view").value === "render";
    const opacity = number("opacity") / 100;
    byId("in-space").hidden = !inSpace;
    byId("show-mask").disabled = inSpace; // a surface would hide all within
    const setOpacity = (name, value) => {
      if (volumes[name]) volumes[name].opacity = value;
    };
    if (volumes.chi) colourChi(volumes, inSpace, opacity);
    setOpacity("magnitude", inSpace ? 0.2 : 1);
    setOpacity("chi", ticked("chi") && opacity > 0 ? 1 : 0);
    setOpacity("inside", 0);
    setOpacity("mask", ticked("mask") && !inSpace ? 1 : 0);
    setOpacity("regions", ticked("regions") ? number("regions-opacity") / 100 : 0);
    nv.opts.crosshairWidth = ticked("crosshair") ? 0.6 : 0;
    nv.updateGLVolume();
  }

  function colourChi({ chi, inside }, inSpace, opacity) {
    const [low, high] = chiWindow();
    chi.colormap = inSpace ? "paramagnetic" : "opaque-grey";
    // in 3-D only what is brighter than most tissue is opaque: iron in the nuclei, veins
    chi.cal_min = inSpace ? low + 0.75 * (high - low) : low;
    chi.cal_max = inSpace ? high + 0.25 * (high - low) : high;
    if (!inside) return;
    // how opaque chi is in slices comes from the mask that it is multiplied with, not from its own opacity
    inside.cal_max = 1 / Math.max(opacity, 0.01);
    // not by setModulationImage, which draws at once
    chi.modulationImage = inSpace ? null : nv.getVolumeIndexByID(inside.id);
    chi.modulateAlpha = 1;
  }

  const AXES = ["x", "y", "z"];

  // coordinates of the scanner also where slices are tilted: that is what the third argument says
  const toMm = (fraction) => Array.from(nv.frac2mm(fraction, 0, true)).slice(0, 3);
  const toFraction = (mm) => Array.from(nv.mm2frac(mm, 0, true)).map((part) => Math.min(1, Math.max(0, part)));

  const middle = () => toMm([0.5, 0.5, 0.5]);

  function limits() {
    const ends = [0, 1];
    const corners = ends.flatMap((x) => ends.flatMap((y) => ends.map((z) => toMm([x, y, z]))));
    const along = (axis) => corners.map((corner) => corner[axis]);
    return {
      min: AXES.map((_, axis) => Math.min(...along(axis))),
      max: AXES.map((_, axis) => Math.max(...along(axis))),
    };
  }

  function limitSliders() {
    const { min, max } = limits();
    AXES.forEach((axis, index) => {
      byId(axis).min = Math.ceil(min[index]);
      byId(axis).max = Math.floor(max[index]);
    });
  }

  function moveTo(mm) {
    nv.scene.crosshairPos = toFraction(mm);
    nv.createOnLocationChange();
    nv.drawScene();
  }

  function located(where) {
    place = Array.from(where.mm).slice(0, 3);
    AXES.forEach((axis, index) => {
      byId(axis).value = Math.round(place[index]);
      byId(`${axis}-value`).textContent = `${decimals(place[index], 0)} mm`;
    });
    const value = (name) => {
      const volume = current && current.volumes[name];
      if (!volume) return null;
      const voxel = volume.mm2vox(place);
      return volume.getValue(voxel[0], voxel[1], voxel[2]);
    };
    const words = [];
    const chi = value("chi");
    if (chi !== null) words.push(value("inside") === 0 ? "outside the mask" : `χ = ${decimals(chi, 3)} ppm`);
    const region = value("regions");
    if (region) words.push(current.scan.regions[region - 1]);
    byId("value").textContent = words.join(", ");
  }

  function chooseView() {
    const { SLICE_TYPE } = window.niivue;
    const kinds = {
      axial: SLICE_TYPE.AXIAL, coronal: SLICE_TYPE.CORONAL, sagittal: SLICE_TYPE.SAGITTAL, render: SLICE_TYPE.RENDER,
    };
    const chosen = byId("view").value;
    if (chosen === "planes") {
      nv.setCustomLayout([
        { sliceType: SLICE_TYPE.AXIAL, position: [0, 0, 0.54, 1] },
        { sliceType: SLICE_TYPE.CORONAL, position: [0.54, 0, 0.46, 0.5] },
        { sliceType: SLICE_TYPE.SAGITTAL, position: [0.54, 0.5, 0.46, 0.5] },
      ]);
    } else {
      nv.clearCustomLayout();
      nv.setSliceType(kinds[chosen]);
    }
    draw();
  }

  // arrow keys move through the slices, page keys along the third axis, as the sliders do
  const STEPS = {
    ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], ArrowDown: [0, -1, 0], ArrowUp: [0, 1, 0],
    PageDown: [0, 0, -1], PageUp: [0, 0, 1],
  };

  function pressed(event) {
    const step = STEPS[event.key];
    if (!step || !place) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    moveTo(place.map((mm, axis) => mm + step[axis]));
  }

  // the window follows a drag with the right button, as in radiology: across its width, down its level
  function dragged(event) {
    if (!(event.buttons & 2)) return;
    event.stopImmediatePropagation();
    const change = (name, pixels) => {
      const slider = byId(name);
      slider.value = Number(slider.value) + (pixels / 300) * (Number(slider.max) - Number(slider.min));
    };
    change("width", event.movementX);
    change("level", event.movementY);
    draw();
  }

  function listen() {
    for (const name of ["width", "level", "opacity", "regions-opacity"]) byId(name).addEventListener("input", draw);
    for (const name of ["chi", "mask", "regions", "crosshair"]) {
      byId(`show-${name}`).addEventListener("change", draw);
    }
    for (const axis of AXES) {
      byId(axis).addEventListener("input", () => moveTo(AXES.map((name) => Number(byId(name).value))));
    }
    byId("view").addEventListener("change", chooseView);
    byId("scan").addEventListener("change", (event) => tryTo(() => show(scans[event.target.value])));
    byId("reset").addEventListener("click", () => {
      for (const control of root.querySelectorAll("input")) {
        control.value = control.defaultValue;
        control.checked = control.defaultChecked;
      }
      draw();
      moveTo(middle());
    });
    canvas.addEventListener("keydown", pressed, { capture: true });
    canvas.addEventListener("mousemove", dragged, { capture: true });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  async function start() {
    say("Loading…");
    await loadLibrary();
    nv = makeViewer();
    nv.onLocationChange = located;
    root.classList.add("ready");
    await nv.attachToCanvas(canvas);
    nv.addColormap("opaque-grey", GREY);
    nv.addColormap("paramagnetic", PARAMAGNETIC);
    nv.setRenderAzimuthElevation(220, 15);
    listen();
    await show(scans[0]);
    chooseView();
    root.dataset.state = "ready";
  }

  async function tryTo(action) {
    try {
      await action();
    } catch (error) {
      root.classList.remove("ready");
      root.dataset.state = "failed";
      say(`The viewer could not start (${error.message}). Everything else on this page is complete.`);
    }
  }

  if (typeof DecompressionStream === "undefined" || !document.createElement("canvas").getContext("webgl2")) {
    root.dataset.state = "absent";
    say("This browser has no WebGL 2, so the viewer cannot be shown. Everything else on this page is complete.");
    return;
  }
  new IntersectionObserver((entries, observer) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    tryTo(start);
  }, { rootMargin: "400px" }).observe(root);
})();
