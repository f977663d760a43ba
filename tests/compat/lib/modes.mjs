// How connections, or requests, reach workers: the options of each mode, which rows of cells.json name.
const modes = {
  Shared: { options: [] },
  Steered: { options: ['--balancing', 'steered'] },
  Passing: { options: ['--balancing', 'passing'] },
  Queue: { options: ['--balancing', 'queue'] },
};

export const names = Object.keys(modes);

export function find(name) {
  if (!modes[name]) throw new Error(`no mode ${name}; there are ${names.join(', ')}`);
  return modes[name];
}
