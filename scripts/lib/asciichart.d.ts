// The part of asciichart that is used here; the package brings no types.
declare module "asciichart" {
  export function plot(
    series: readonly number[],
    settings?: {
      readonly height?: number;
      readonly min?: number;
      readonly max?: number;
      readonly format?: (value: number) => string;
    },
  ): string;
}
