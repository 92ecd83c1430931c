// The sample document of the first run, and questions that it answers.

export const SAMPLE_COLLECTION = "sample";
export const SAMPLE_NAME = "ardena-300-manual.md";
export const SAMPLE_QUESTIONS = [
  "How long is the warranty of the Ardena 300?",
  "How often should the machine be descaled?",
  "How much water does the tank hold?",
];

/** @returns {Promise<File>} */
export async function sampleFile() {
  const address = new URL(`../../samples/${SAMPLE_NAME}`, import.meta.url).pathname;
  const response = await fetch(address, { credentials: "same-origin" });
  return new File([await response.blob()], SAMPLE_NAME, { type: "text/markdown" });
}
