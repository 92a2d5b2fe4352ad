/** The cheapest hash that bcrypt has. */
export const leastCost = 4;
/**
 * The costliest hash that logs anybody in: what `htpasswd -C` accepts at most. One check of the next cost takes over
 * ten seconds of a core.
 */
export const mostCost = 17;
