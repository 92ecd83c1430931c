// The page `connect`.
export {};
