// Ask whoever leaves while their training goes on, because it ends with the page. Gradio hangs up
// as soon as anybody means to leave, even on those who then stay; so it may not, while one asks.
(() => {
  const leaving = () => {
    const stop = document.querySelector("#stop");
    return window.event?.type === "beforeunload" && stop && !stop.disabled;
  };
  const abort = AbortController.prototype.abort;
  AbortController.prototype.abort = function (...why) {
    if (!leaving()) abort.apply(this, why);
  };
  window.addEventListener("beforeunload", (event) => {
    if (leaving()) event.preventDefault();
  });
})();
