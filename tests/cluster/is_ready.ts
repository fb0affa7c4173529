/** Whether `url` answers with success; not while nobody listens there. For {@linkcode ServerProcess.waitUntil}. */
export async function isReady(url: string): Promise<boolean> {
  try {
    const response = await fetch(url);
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}
