// @ts-check
// Playing of the steps, each held and then faded into the next.

/** @typedef {import("./field.js").Field} Field */

const STEP_MS = 900;
const FADED = 0.55; // share of a step

/** @param {number} ms */
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Player {
  /** @param {{ leads: number[], now: () => number, speed: () => number,
   *   load: (lead: number) => Promise<Field>, fade: (next: Field, share: number) => void,
   *   show: (lead: number) => Promise<boolean>, changed: (playing: boolean) => void }} parts
   *   `show` returns whether it succeeded */
  constructor(parts) {
    this.parts = parts;
    this.turn = 0;
    this.playing = false;
  }

  toggle() {
    if (this.playing) this.stop();
    else void this.play();
  }

  stop() {
    this.turn++;
    this.playing = false;
    this.parts.changed(false);
  }

  async play() {
    const { leads, now, load, show, changed } = this.parts;
    const turn = ++this.turn;
    this.playing = true;
    changed(true);
    const going = () => turn === this.turn;
    while (going()) {
      const at = leads.indexOf(now());
      const next = leads[(at + 1) % leads.length];
      const step = STEP_MS / this.parts.speed();
      const fades = at + 1 < leads.length && !matchMedia("(prefers-reduced-motion: reduce)").matches;
      try {
        const [field] = await Promise.all([load(next), wait(fades ? step * (1 - FADED) : step)]);
        if (going() && fades) await this.fade(field, step * FADED, going);
      } catch {
        // show() says what failed.
      }
      if (!going()) return;
      if (!(await show(next)) && going()) this.stop();
    }
  }

  /** @param {Field} next @param {number} length ms @param {() => boolean} going */
  async fade(next, length, going) {
    const start = performance.now();
    for (let share = 0; share < 1 && going();) {
      await new Promise(requestAnimationFrame);
      share = Math.min(1, (performance.now() - start) / length);
      if (going()) this.parts.fade(next, share);
    }
  }
}
