// Number boxes hold back what is not valid while it is typed: Gradio would take an emptied box for
// the least number, and forgets the last change after one that was refused. When it is left, an
// emptied box gets back what it had, and a number beyond its bounds becomes the nearest one.
(() => {
  const held = ({ type, value, validity }) =>
    type === "number" && (value === "" || validity.rangeUnderflow || validity.rangeOverflow);
  const valid = ({ value, validity, min, max, dataset }) =>
    value === "" ? dataset.was : validity.rangeOverflow ? max : min;
  document.addEventListener("focusin", ({ target }) => (target.dataset.was = target.value));
  document.addEventListener("input", (event) => {
    if (held(event.target)) event.stopPropagation();
  }, true);
  document.addEventListener("blur", ({ target }) => {
    if (!held(target)) return;
    target.value = valid(target);
    target.dispatchEvent(new Event("input", { bubbles: true }));
  }, true);
})();
