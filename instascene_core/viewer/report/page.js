"use strict";
// Turns the objects: a sheet holds 8 pictures a row, from above and (second row) from below.
for (const table of document.querySelectorAll(".turntable")) {
  const frames = table.querySelector(".frames"), turn = table.querySelector(".turn");
  const rows = Number(frames.dataset.rows), views = 8;
  const slider = document.createElement("input");
  Object.assign(slider, { type: "range", min: 0, max: views - 1, value: 0, ariaLabel: "Side" });
  turn.append(slider);
  const below = document.createElement("button");
  Object.assign(below, { type: "button", textContent: "from below" });
  if (rows > 1) turn.append(below);
  table.classList.add("turns");
  let view = 0, row = 0, drag = null;
  function show(nextView, nextRow) {
    view = ((nextView % views) + views) % views;
    row = Math.min(rows - 1, Math.max(0, nextRow));
    frames.style.setProperty("--view", view);
    frames.style.setProperty("--row", row);
    slider.value = view;
    below.setAttribute("aria-pressed", String(row === 1));
  }
  slider.addEventListener("input", () => show(Number(slider.value), row));
  below.addEventListener("click", () => show(view, 1 - row));
  frames.addEventListener("pointerdown", (event) => {
    drag = { x: event.clientX, y: event.clientY, view, row };
    frames.setPointerCapture(event.pointerId);
  });
  frames.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const wide = frames.clientWidth / 6;
    const up = event.pointerType === "mouse" ? Math.round((drag.y - event.clientY) / 70) : 0;
    show(drag.view - Math.round((event.clientX - drag.x) / wide), drag.row + up);
  });
  for (const end of ["pointerup", "pointercancel"]) frames.addEventListener(end, () => { drag = null; });
  frames.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const step = steps[event.key];
    if (!step || (step[1] && rows === 1)) return;
    show(view + step[0], row + step[1]);
    event.preventDefault();
  });
  show(0, 0);
}
