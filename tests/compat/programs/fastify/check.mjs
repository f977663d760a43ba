export { default } from '../../lib/framework.mjs';
