// Ask whoever leaves during their training, because it ends with the page. Gradio closes the page's
// connections at once when somebody means to leave, even if they then stay, and registers that
// before any script of ours runs; so nothing may be aborted while the browser asks. A test fails
// once Gradio's page does not close its client on beforeunload any more.
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
