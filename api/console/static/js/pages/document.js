// The page `document`.
export {};
