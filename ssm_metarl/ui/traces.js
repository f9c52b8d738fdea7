// The cursor of the traces follows the clips: `element` is given by gr.HTML, see inside.py.
const screen = element.closest("#inside-screen");
screen.addEventListener("seek", (event) => {
  for (const chart of element.querySelectorAll("[data-rate]")) {
    const step = event.detail * Number(chart.dataset.rate);
    for (const cursor of chart.querySelectorAll(".cursor")) {
      const { from, to, left, right } = cursor.dataset;
      const share = Math.min(1, Math.max(0, (step - from) / (to - from)));
      const x = Number(left) + share * (right - left);
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
    }
  }
});
