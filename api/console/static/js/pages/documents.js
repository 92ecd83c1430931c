// The page `documents`.
export {};
