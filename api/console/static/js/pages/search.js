// The page `search`.
export {};
