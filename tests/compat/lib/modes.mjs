// How the primary shares connections among workers. Modes that are not built yet get their options here, and then
// rows of cells.json name them.
const modes = {
  Shared: { options: [] },
  Steered: { options: ['--balancing', 'steered'] },
  Passing: { options: ['--balancing', 'passing'] },
  Queue: { missing: 'not built yet' },
};

export const names = Object.keys(modes);

export function find(name) {
  if (!modes[name]) throw new Error(`no mode ${name}; there are ${names.join(', ')}`);
  return modes[name];
}
