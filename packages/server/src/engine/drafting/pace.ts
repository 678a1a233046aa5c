/**
 * How slow the machine is at present, against when it was learnt what things take on it. Whatever else runs there slows all
 * steps alike: what is known of one size stays true beside another that was seen at another time. Knows no steps.
 */

/** Weight of the newest observation: what slows a machine comes and goes within few steps. */
const RATE = 0.2;

export class Pace {
  #factor = 1;

  /** What takes 1 ms by what was learnt takes so many at present. */
  get factor(): number {
    return this.#factor;
  }

  /** Takes in that something took so many times what it takes by what was learnt. */
  observe(factor: number): void {
    this.#factor += RATE * (factor - this.#factor);
  }
}
