// The page `models`.
export {};
