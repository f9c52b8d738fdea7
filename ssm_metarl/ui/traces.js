// The cursor of each trace follows the clips: `element` is given by gr.HTML, see tabs/inside.py.
element.closest("#inside-screen").addEventListener("seek", ({ detail }) => {
  const rate = element.querySelector("[data-rate]")?.dataset.rate ?? 0;
  for (const trace of element.querySelectorAll("[data-steps]"))
    trace.style.setProperty("--at", Math.min(1, (detail * rate) / trace.dataset.steps));
});
