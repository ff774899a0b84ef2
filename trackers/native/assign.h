// Assignment of a sparse cost matrix with a limit: only the pairs that could be made are named.
//
// Source: shortest augmenting paths with dual variables, as in R. Jonker, A. Volgenant, A Shortest Augmenting Path
// Algorithm for Dense and Sparse Linear Assignment Problems, Computing 38 (1987).
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace watchline {

struct Edge {
  int column;
  double cost;
};

// The edges of row i are `edge[start[i]]` to before `edge[start[i + 1]]`, ascending by column, each column once.
struct EdgeTable {
  std::vector<int> start;
  std::vector<Edge> edge;
};

// Returns the edges of a matrix, row by row, that cost no more than `most`.
EdgeTable EdgesUpTo(std::size_t rows, std::size_t columns, const double* cost, double most);

// Finds the pairs of least total cost, where a row and a column that stay alone cost `limit` together: the optimum of
// lap.lapjv with that cost_limit, whose matrix holds the edges, and `limit` or more elsewhere.
//
// A pair that costs `limit` or more is never made. Where several sets of pairs cost the same, the same one is found
// each time: rows choose in ascending order, of equal columns a free one first, then the lowest.
//
// Each row starts at its cheapest column, so nearly all rows of a tracker are done at once. Those left outbid each
// other for columns, and the last of them search along edges, hence never beyond their connected component: that is
// what makes a sparse crowd cost little. A search looks no further than the nearest end that it has met, so a matrix
// that is all edges costs no more than Lapjv takes, and mostly much less (measured to 500 x 500). Keeps its memory
// between calls.
class SparseAssignment {
 public:
  // `edges` has `rows` rows; columns are below `columns`; costs are finite.
  void Solve(int rows, int columns, const EdgeTable& edges, double limit);

  // Are all other sets of pairs than the one found last worse by more than `margin`, which is not negative? `edges` is
  // as before, and holds all that cost no more than `limit` + `margin`.
  bool Unique(const EdgeTable& edges, double margin);

  std::vector<int> column_of, row_of;  // kFree where alone

 private:
  void TakeCheapest(const EdgeTable& edges);
  void Outbid(const EdgeTable& edges);
  void Augment(const EdgeTable& edges, int start);
  int Reach(const EdgeTable& edges, int row, double length);
  void Shift(double length, int start);
  void Tighten(const EdgeTable& edges, double margin);
  bool HasCycle();

  double limit_ = 0;
  std::vector<double> row_price_, column_price_;  // dual variables: price of row + price of column <= cost - limit
  std::vector<int> waiting_;                      // rows without their cheapest column

  // Of one search.
  double bound_ = 0;                          // length of the shortest path to an end found so far
  std::vector<double> reach_;                 // length of the shortest path to each column; infinite where not reached
  std::vector<int> from_;                     // the row before each column on that path
  std::vector<std::pair<double, int>> heap_;  // (length, column), the least on top
  std::vector<int> reached_, settled_;        // columns

  // Of the question whether there is a choice: row a could take the column of row b, or a free one (b = rows).
  std::vector<std::pair<int, int>> tight_;
  std::vector<int> tight_start_, incoming_, ready_;
};

}  // namespace watchline
