export { default } from '../../lib/ssr.mjs';
