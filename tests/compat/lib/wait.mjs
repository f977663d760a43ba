// Waiting for a condition with a deadline; what was seen last is in the error.
import { setTimeout as pause } from 'node:timers/promises';

// Longer than anything here takes on a busy machine with two processors.
export const PATIENCE = 60_000;

// How often a condition is looked at.
const GLANCE = 15;

/** Calls `look` until it gives something truthy; an exception of it counts as not yet. */
export async function until(what, look, patience = PATIENCE) {
  const deadline = Date.now() + patience;
  let seen;
  for (;;) {
    try {
      seen = await look();
      if (seen) return seen;
    } catch (error) {
      seen = error;
    }
    if (Date.now() > deadline) throw new Error(`waited ${patience / 1000} s for ${what}, and saw: ${words(seen)}`);
    await pause(GLANCE);
  }
}

/** The promise, or an error when it takes too long. */
export async function within(what, promise, patience = PATIENCE) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${patience / 1000} s for ${what}`)), patience);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function words(seen) {
  return seen instanceof Error ? seen.message : JSON.stringify(seen);
}
