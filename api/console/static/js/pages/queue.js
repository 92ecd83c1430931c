// The page `queue`.
export {};
