// The page `chat`.
export {};
