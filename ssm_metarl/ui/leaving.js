// Ask whoever leaves during their training, because it ends with the page. This listener comes
// before Gradio's, which closes the page's connections even if the visitor then stays.
window.addEventListener("beforeunload", (event) => {
  const stop = document.querySelector("#stop");
  if (!stop || stop.disabled) return;
  event.preventDefault();
  event.stopImmediatePropagation();
});
