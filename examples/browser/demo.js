// CartPole as in Gymnasium, with the agent's exported step in the loop.
const TIME_STEP = 0.02, CART_MASS = 1.0, POLE_MASS = 0.1, FORCE = 10.0;
const POSITION_LIMIT = 2.4, ANGLE_LIMIT = (12 * 2 * Math.PI) / 360, MOST_STEPS = 500;
const [gravity, length, swap, keep, status, canvas] =
  ["gravity", "length", "swap", "keep", "status", "world"].map((id) => document.getElementById(id));

function physics([x, v, angle, spin], action) {
  const g = Number(gravity.value), l = Number(length.value), mass = CART_MASS + POLE_MASS;
  const force = (action === 1) !== swap.checked ? FORCE : -FORCE;
  const sin = Math.sin(angle), cos = Math.cos(angle), pole = POLE_MASS * l;
  const drive = (force + pole * spin * spin * sin) / mass;
  const angular = (g * sin - cos * drive) / (l * (4 / 3 - (POLE_MASS * cos * cos) / mass));
  const linear = drive - (pole * angular * cos) / mass;
  return [x + TIME_STEP * v, v + TIME_STEP * linear, angle + TIME_STEP * spin, spin + TIME_STEP * angular];
}

const startOfEpisode = () => Array.from({ length: 4 }, () => 0.1 * Math.random() - 0.05);

function draw([x, , angle]) {
  const pen = canvas.getContext("2d"), scale = canvas.width / (2 * POSITION_LIMIT), ground = 220;
  const left = canvas.width / 2 + x * scale, pole = 2 * Number(length.value) * scale * 0.5;
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.fillStyle = pen.strokeStyle = getComputedStyle(document.body).color;
  pen.lineWidth = 1;
  pen.strokeRect(-1, ground + 15, canvas.width + 2, 0);
  pen.fillRect(left - 30, ground - 15, 60, 30);
  pen.strokeStyle = "#d95f02";
  pen.lineWidth = 8;
  pen.lineCap = "round";
  pen.beginPath();
  pen.moveTo(left, ground - 15);
  pen.lineTo(left + pole * Math.sin(angle), ground - 15 - pole * Math.cos(angle));
  pen.stroke();
}

async function main() {
  const session = await ort.InferenceSession.create("policy.onnx");
  const size = session.inputMetadata.find((each) => each.name === "state").shape[1];
  const nothing = () => new ort.Tensor("float32", new Float32Array(size), [1, size]);
  let memory = nothing(), world = startOfEpisode(), steps = 0, reward = 0, start = true;
  const returns = [];

  for (const each of [gravity, length, swap]) {
    const show = () => { if (each.nextElementSibling) each.nextElementSibling.value = each.value; };
    each.addEventListener("input", () => {
      show();
      if (keep.checked) return;
      memory = nothing(); // another task, of which it knows nothing
      [world, steps, reward, start, returns.length] = [startOfEpisode(), 0, 0, true, 0];
    });
    show();
  }

  async function step() {
    const before = memory;
    const { action, next_state } = await session.run({
      observation: new ort.Tensor("float32", Float32Array.from(world), [1, 4]),
      reward: new ort.Tensor("float32", [reward], [1]),
      episode_start: new ort.Tensor("bool", [start ? 1 : 0], [1]),
      state: before,
    });
    if (memory === before) { // no other task has begun meanwhile
      memory = next_state;
      world = physics(world, Number(action.data[0]));
      [steps, reward, start] = [steps + 1, 1, false];
      if (Math.abs(world[0]) > POSITION_LIMIT || Math.abs(world[2]) > ANGLE_LIMIT || steps === MOST_STEPS) {
        returns.push(steps);
        [world, steps, start] = [startOfEpisode(), 0, true];
      }
    }
    draw(world);
    status.textContent =
      `Step ${steps} of ${MOST_STEPS}. Episodes so far: ${returns.slice(-8).join(", ") || "none"}`;
    setTimeout(step, 1000 * TIME_STEP);
  }
  step();
}

main().catch((error) => { status.textContent = `The agent could not be loaded: ${error.message}`; });
