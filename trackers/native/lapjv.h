// Dense assignment by Jonker and Volgenant's LAPJV, in its published order of steps.
//
// Source: R. Jonker, A. Volgenant, A Shortest Augmenting Path Algorithm for Dense and Sparse Linear Assignment
// Problems, Computing 38 (1987).
#pragma once

#include <cstddef>

namespace watchline {

constexpr int kFree = -1;  // a row without a column, or a column without a row

// Finds the pairs of least total cost between `rows` and `columns` of `cost` (row by row, finite).
//
// Without a limit (`limit` infinite) all of the shorter side is paired: the matrix is made square with zeros. With a
// finite limit, leaving a row or a column alone costs limit / 2: the matrix grows to rows + columns on both sides,
// filled with that, and nothing where fill meets fill.
//
// Writes the column of every row to `column_of` and the row of every column to `row_of`, or kFree.
//
// Of several optima it finds the one that Python's `lap.lapjv(cost, extend_cost=True, cost_limit=limit)` finds: the
// steps, their order and their comparisons are the published ones, and every sum is made in the same order. This holds
// for costs below 1e6, where that package's arithmetic ends; the optimum itself is found for any.
void Lapjv(std::size_t rows, std::size_t columns, const double* cost, double limit, int* column_of, int* row_of);

}  // namespace watchline
