// Every limit of composition graphs, as data with its reason. A limit counts what its name says, units last.

export const COMPOSITION_LIMITS = {
  /**
   * Nodes of one graph, which bounds its depth too. Graphs that people and models write have tens of nodes; one node
   * takes about 1 KB while it is being run, so that the largest graph stays near 200 MB.
   */
  nodesMax: 200_000,
  /** UTF-16 units of one graph given as text. Room for the most nodes with 160 characters each; constants included. */
  textLengthMax: 32 * 1024 * 1024,
  /** UTF-16 units of a stage's id. Real ids are hashes of 8 to 64 digits; they become keys and parts of messages. */
  stageIdLengthMax: 1_024,
  /** UTF-16 units of a remote stage's URL. What servers and proxies commonly accept. */
  urlLengthMax: 8_192,
  /** Attempts of one Retry. More calls than that are an outage of their own; each of them may cost. */
  attemptsMax: 1_000,
  /** Milliseconds between two attempts: the longest time that `setTimeout` keeps; beyond it fires at once. */
  delayMsMax: 2 ** 31 - 1,
} as const;
