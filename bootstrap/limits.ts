/** How old a list may be that is answered without collecting it again. */
export const LIST_KEPT_MS = 1_000
export const REQUEST_MAX_MS = 10_000
export const BODY_MAX_BYTES = 1_024
export const PORT_MAX = 65_535
