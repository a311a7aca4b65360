/** The value that would stand at index `n` were they sorted; in time proportional to their number. C. A. R. Hoare, FIND, 1961. */
export function nthSmallest(values: Float64Array, n: number): number {
  const own = values.slice();
  let low = 0;
  let high = own.length - 1;
  while (low < high) {
    const pivot = own[(low + high) >>> 1];
    let left = low;
    let right = high;
    while (left <= right) {
      while (own[left] < pivot) left++;
      while (own[right] > pivot) right--;
      if (left > right) break;
      const swap = own[left];
      own[left++] = own[right];
      own[right--] = swap;
    }
    if (n <= right) high = right;
    else if (n >= left) low = left;
    else break;
  }
  return own[n];
}
