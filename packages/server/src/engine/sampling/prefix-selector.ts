/**
 * Finds where a sorted list would be cut, without sorting it: a radix descent over 32-bit keys that adds up weights per
 * bucket and looks closer only at the bucket in which the target is reached. Linear for any input. Knows nothing about
 * probabilities: top-k, top-p and typical-p differ in their keys and weights alone.
 */

const BUCKET_COUNT = 2048;
const BUCKET_MASK = BUCKET_COUNT - 1;
/** The first level's bucket is the upper 11 bits, the sign among them. */
const TOP_SHIFT = 21;
const TOP_OFFSET = BUCKET_COUNT / 2;
/** Where the next levels' 11 bits begin; one bit is looked at twice. */
const LOWER_SHIFTS = [10, 0];

/** The last item of a prefix, in the order of (key, position). */
export interface PrefixEnd {
  readonly key: number;
  readonly position: number;
}

export class PrefixSelector {
  /** [capacity], filled by the caller; lower keys come first. */
  readonly keys: Int32Array;
  /** The same memory, for callers whose keys start as floats. */
  readonly keyFloats: Float32Array;
  readonly #members: Int32Array;
  readonly #sums = new Float64Array(BUCKET_COUNT);
  #reached = 0;

  constructor(capacity: number) {
    this.keys = new Int32Array(capacity);
    this.keyFloats = new Float32Array(this.keys.buffer);
    this.#members = new Int32Array(capacity);
  }

  /**
   * Where the shortest prefix of the first `count` items ends whose weight reaches `target`: at least one item, and the
   * last one that weighs anything where rounding keeps the sum below the target. Weights are >= 0 and not all 0.
   */
  select(count: number, weights: Float64Array, target: number): PrefixEnd {
    this.#reached = 0;
    this.#sums.fill(0);
    sumBuckets(this.keys, weights, count, this.#sums);
    let memberCount = takeBucket(this.keys, count, this.#findBucket(target), this.#members);
    for (const shift of LOWER_SHIFTS) {
      this.#sums.fill(0);
      sumMembers(this.keys, weights, this.#members, memberCount, shift, this.#sums);
      memberCount = takeMembers(this.keys, this.#members, memberCount, shift, this.#findBucket(target));
    }
    return this.#findMember(memberCount, weights, target);
  }

  /** The bucket in which the target is reached; `#reached` becomes the weight before it. */
  #findBucket(target: number): number {
    let found = 0;
    let reached = this.#reached;
    for (let bucket = 0; bucket < BUCKET_COUNT; bucket++) {
      const sum = this.#sums[bucket]!;
      if (sum === 0) continue;
      found = bucket;
      this.#reached = reached;
      reached += sum;
      if (reached >= target) break;
    }
    return found;
  }

  /** The end among members that all have one key. */
  #findMember(memberCount: number, weights: Float64Array, target: number): PrefixEnd {
    const members = this.#members;
    let reached = this.#reached;
    let i = 0;
    for (; i < memberCount - 1; i++) {
      reached += weights[members[i]!]!;
      if (reached >= target) break;
    }
    const position = members[i]!;
    return { key: this.keys[position]!, position };
  }
}

// The loops over a row are functions of plain arrays: twice as fast as methods that reach them through fields.

function sumBuckets(keys: Int32Array, weights: Float64Array, count: number, sums: Float64Array): void {
  for (let i = 0; i < count; i++) {
    const bucket = (keys[i]! >> TOP_SHIFT) + TOP_OFFSET;
    sums[bucket] = sums[bucket]! + weights[i]!;
  }
}

function takeBucket(keys: Int32Array, count: number, bucket: number, members: Int32Array): number {
  let taken = 0;
  for (let i = 0; i < count; i++) if ((keys[i]! >> TOP_SHIFT) + TOP_OFFSET === bucket) members[taken++] = i;
  return taken;
}

function sumMembers(
  keys: Int32Array,
  weights: Float64Array,
  members: Int32Array,
  count: number,
  shift: number,
  sums: Float64Array,
): void {
  for (let i = 0; i < count; i++) {
    const member = members[i]!;
    const bucket = (keys[member]! >>> shift) & BUCKET_MASK;
    sums[bucket] = sums[bucket]! + weights[member]!;
  }
}

/** Narrows `members` to one bucket, in place and in their order. */
function takeMembers(keys: Int32Array, members: Int32Array, count: number, shift: number, bucket: number): number {
  let taken = 0;
  for (let i = 0; i < count; i++) {
    const member = members[i]!;
    if (((keys[member]! >>> shift) & BUCKET_MASK) === bucket) members[taken++] = member;
  }
  return taken;
}
