"use strict";
// Recolours the two maps for one chip timestep; without it the page shows the totals.
(() => {
  const data = JSON.parse(document.getElementById("frames").textContent);
  const slider = document.getElementById("step");
  const label = document.getElementById("step-label");
  const kinds = [["cores", "core-"], ["routers", "router-"]];
  const highest = (rows) => rows.reduce((top, row) => row.reduce((a, b) => Math.max(a, b), top), 0);
  const tops = {};
  for (const [kind] of kinds) tops[kind] = { one: highest(data[kind]), all: highest([data.totals[kind]]) };
  const short = (value) => (value === 0 ? "0" : value >= 100 ? Math.round(value).toLocaleString("en") : String(+value.toPrecision(3)));
  function show() {
    const at = Number(slider.value) - 1;
    label.textContent = at < 0 ? "all timesteps" : "chip timestep " + data.steps[at];
    for (const [kind, prefix] of kinds) {
      const values = at < 0 ? data.totals[kind] : data[kind][at];
      const top = at < 0 ? tops[kind].all : tops[kind].one;
      document.getElementById(kind + "-top").textContent = short(top);
      values.forEach((value, i) => {
        const cell = document.getElementById(prefix + i);
        if (!cell) return;
        const place = Math.min(Math.floor((value / top) * data.heatSteps), data.heatSteps - 1);
        cell.style.fill = value > 0 ? `var(--h${place})` : "var(--empty)";
        cell.querySelector("title").textContent = cell.dataset.name + ": " + short(value);
      });
    }
    document.querySelectorAll("rect.frame").forEach((bar, i) => bar.classList.toggle("here", i === at));
  }
  slider.max = String(data.steps.length);
  slider.addEventListener("input", show);
  document.getElementById("control").hidden = false;
})();
