// Clips that play in step: `element` and `props` are given by gr.HTML, see clips.py.
const stage = element.querySelector(".stage");
const toggle = element.querySelector(".toggle");
const scrub = element.querySelector(".scrub");
const controls = element.querySelector(".controls");
const picture = element.querySelector(".picture");
const HOLD = 1500; // milliseconds at the end, before they start again
const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
let clips = [], urls = [], playing = false, again = null, frame = null;

function movie(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const url = URL.createObjectURL(new Blob([bytes], { type: "video/mp4" }));
  urls.push(url);
  return url;
}

function add(tag, parent, className, text) {
  const made = parent.appendChild(document.createElement(tag));
  made.className = className;
  if (text) made.textContent = text;
  return made;
}

function build(clip) {
  const figure = add("figure", stage, "clip");
  figure.style.setProperty("--mark", `var(--mode-${clip.style})`);
  const video = add("video", figure, "");
  Object.assign(video, { muted: true, playsInline: true, preload: "auto", src: movie(clip.mp4) });
  video.setAttribute("aria-label", `Video of one episode, ${clip.name}: ${clip.ending}`);
  const caption = add("figcaption", figure, "");
  add("span", caption, "name", clip.name);
  const counter = add("span", caption, "counter");
  return { ...clip, figure, video, counter };
}

const duration = () => Math.max(0, ...clips.map((clip) => clip.video.duration || 0));
const time = () => Math.max(0, ...clips.map((clip) => clip.video.currentTime));

function draw() {
  for (const { video, counter, figure, steps, seconds_per_step, ending } of clips) {
    const step = Math.min(steps, Math.round(video.currentTime / seconds_per_step));
    const over = video.ended || step >= steps;
    counter.textContent = over ? ending : "step " + step;
    figure.classList.toggle("over", over);
  }
  const length = duration();
  if (length) scrub.value = (1000 * time()) / length;
  element.dispatchEvent(new CustomEvent("seek", { bubbles: true, detail: time() }));
}

function loop() {
  draw();
  const rest = clips.filter((clip) => !clip.video.ended);
  if (!rest.length && again === null) again = setTimeout(() => { again = null; seek(0); play(); }, HOLD);
  frame = requestAnimationFrame(loop);
}

function play() {
  if (!clips.length) return;
  if (clips.every((clip) => clip.video.ended)) seek(0);
  playing = true;
  // Those that have ended keep their last picture: play() would start them again.
  for (const { video } of clips) if (!video.ended) video.play().catch(() => {});
  toggle.textContent = "Pause";
  cancelAnimationFrame(frame);
  loop();
}

function pause() {
  playing = false;
  clearTimeout(again);
  again = null;
  for (const { video } of clips) video.pause();
  toggle.textContent = "Play";
  cancelAnimationFrame(frame);
  draw();
}

function seek(to) {
  for (const { video } of clips) video.currentTime = Math.min(to, video.duration || to);
}

function show() {
  pause();
  for (const { video } of clips) {
    video.removeAttribute("src"); // or one that still loads would complain of a file that is gone
    video.load();
  }
  urls.forEach((url) => URL.revokeObjectURL(url));
  urls = [];
  stage.replaceChildren();
  const told = typeof props.value === "string";
  clips = told ? [] : (props.value || []).map(build);
  controls.hidden = !clips.length;
  picture.textContent = clips.length ? clips[0].picture : ""; // of one task, so alike
  if (!clips.length) return void add("p", stage, "waiting", told ? props.value : props.waiting);
  stage.style.setProperty("--clips", clips.length);
  const ready = clips.map(({ video }) => new Promise((go) => video.addEventListener("loadeddata", go, { once: true })));
  Promise.all(ready).then(() => (still ? draw() : play()));
}

toggle.addEventListener("click", () => (playing ? pause() : play()));
scrub.addEventListener("input", () => {
  const to = (scrub.value / 1000) * duration();
  pause();
  seek(to);
  draw();
});
watch("value", show);
show();
