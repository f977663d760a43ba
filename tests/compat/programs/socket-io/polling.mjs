// As sticky.mjs, with clients that bring the cookie back, as browsers do.
import { withCookies } from './clients.mjs';
import sticky from './sticky.mjs';

export default (service) => sticky(service, withCookies);
