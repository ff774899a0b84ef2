#include "lapjv.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

namespace watchline {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// One square problem on its way to the answer. `price_` are the columns' dual variables.
class Square {
 public:
  std::vector<int> column_of, row_of;

  Square(int n, const double* cost)
      : column_of(n, kFree),
        row_of(n),  // the first row where no column was ever offered
        n_(n),
        cost_(cost),
        price_(n, kInfinity),
        several_(n),
        reach_(n),
        from_(n),
        order_(n) {}

  void Solve() {
    ReduceColumns();
    std::vector<int> waiting = TransferReduction();
    for (int round = 0; round < 2 && !waiting.empty(); ++round) waiting = ReduceRows(std::move(waiting));
    for (const int row : waiting) Augment(row);
  }

 private:
  const int n_;
  const double* const cost_;
  std::vector<double> price_;
  std::vector<char> several_;  // rows that were the candidate of more than one column
  std::vector<double> reach_;  // length of the shortest path known to each column
  std::vector<int> from_;      // the row before each column on that path
  std::vector<int> order_;     // columns: [0, ready) done, [ready, edge) at the least distance, [edge, n) beyond

  const double* Row(int row) const { return cost_ + static_cast<std::size_t>(row) * n_; }

  // Every column's price is its least cost; the first row that offers it is the column's candidate. From the last
  // column to the first, a row takes the column that it is the candidate of, once.
  void ReduceColumns() {
    for (int i = 0; i < n_; ++i) {
      const double* row = Row(i);
      for (int j = 0; j < n_; ++j) {
        if (row[j] < price_[j]) {
          price_[j] = row[j];
          row_of[j] = i;
        }
      }
    }
    for (int j = n_ - 1; j >= 0; --j) {
      int& candidate = row_of[j];
      if (column_of[candidate] == kFree) {
        column_of[candidate] = j;
      } else {
        several_[candidate] = 1;
        candidate = kFree;
      }
    }
  }

  // A row that was the candidate of one column only gives the slack to its second best column on to the price.
  // Returns the rows that have no column yet.
  std::vector<int> TransferReduction() {
    std::vector<int> waiting;
    for (int i = 0; i < n_; ++i) {
      const int own = column_of[i];
      if (own == kFree) {
        waiting.push_back(i);
      } else if (!several_[i]) {
        const double* row = Row(i);
        double slack = kInfinity;
        for (int j = 0; j < n_; ++j) {
          if (j != own) slack = std::min(slack, row[j] - price_[j]);
        }
        price_[own] -= slack;
      }
    }
    return waiting;
  }

  struct TwoBest {
    int first, second;
    double least, next;
  };

  // The two columns that cost `row` least at their prices; the earlier one where equal.
  TwoBest Best(int i) const {
    const double* row = Row(i);
    TwoBest best{0, kFree, row[0] - price_[0], kInfinity};
    for (int j = 1; j < n_; ++j) {
      const double reduced = row[j] - price_[j];
      if (reduced >= best.next) continue;
      if (reduced >= best.least) {
        best.second = j;
        best.next = reduced;
      } else {
        best = {j, best.first, reduced, best.least};
      }
    }
    return best;
  }

  // Each waiting row takes its best column and lowers the price until the second best is as good. Who is driven out
  // goes next if the price fell, else waits for the next round; returns those. The price may fall by rounding errors
  // only, for ever: so after a number of steps whoever is driven out waits.
  std::vector<int> ReduceRows(std::vector<int> waiting) {
    std::size_t next = 0, later = 0, steps = 0;
    while (next < waiting.size()) {
      const int row = waiting[next++];
      const TwoBest best = Best(row);
      int column = best.first;
      const double lower = price_[column] - (best.next - best.least);
      const bool fell = lower < price_[column];
      const bool patient = ++steps < next * static_cast<std::size_t>(n_);
      if (patient && fell) {
        price_[column] = lower;
      } else if (patient && row_of[column] != kFree && best.second != kFree) {
        column = best.second;
      }
      const int driven_out = row_of[column];
      if (driven_out != kFree) waiting[patient && fell ? --next : later++] = driven_out;
      column_of[row] = column;
      row_of[column] = row;
    }
    waiting.resize(later);
    return waiting;
  }

  // Moves the columns at the least distance among order_[ready, n) to its front; returns the end of them.
  int Nearest(int ready) {
    int edge = ready + 1;
    double least = reach_[order_[ready]];
    for (int k = edge; k < n_; ++k) {
      const int j = order_[k];
      if (reach_[j] > least) continue;
      if (reach_[j] < least) {
        edge = ready;
        least = reach_[j];
      }
      order_[k] = order_[edge];
      order_[edge++] = j;
    }
    return edge;
  }

  // Follows the rows of the columns order_[next, edge) to further columns. Returns a free column at the same least
  // distance as soon as one is met; else kFree, and `edge` ends behind all columns at that distance.
  int Scan(int next, int& edge) {
    for (; next < edge; ++next) {
      const int at = order_[next], i = row_of[at];
      const double* row = Row(i);
      const double least = reach_[at];
      const double before = row[at] - price_[at] - least;
      for (int k = edge; k < n_; ++k) {
        const int j = order_[k];
        const double length = row[j] - price_[j] - before;
        if (length >= reach_[j]) continue;
        reach_[j] = length;
        from_[j] = i;
        if (length == least) {
          if (row_of[j] == kFree) return j;
          order_[k] = order_[edge];
          order_[edge++] = j;
        }
      }
    }
    return kFree;
  }

  // Finds the shortest path from `start`, a row, to a free column; lowers the prices of the columns it passed.
  int ShortestPath(int start) {
    const double* row = Row(start);
    for (int j = 0; j < n_; ++j) {
      order_[j] = j;
      from_[j] = start;
      reach_[j] = row[j] - price_[j];
    }
    int ready = 0, edge = 0, end = kFree;
    while (end == kFree) {
      ready = edge;
      edge = Nearest(ready);
      for (int k = ready; k < edge; ++k) {
        if (row_of[order_[k]] == kFree) end = order_[k];  // the last one: part of the order of steps
      }
      if (end == kFree) end = Scan(ready, edge);
    }
    const double least = reach_[order_[ready]];
    for (int k = 0; k < ready; ++k) price_[order_[k]] += reach_[order_[k]] - least;
    return end;
  }

  // Gives `start` a column by moving every row on the shortest path one column on.
  void Augment(int start) {
    int column = ShortestPath(start), row;
    do {
      row = from_[column];
      row_of[column] = row;
      std::swap(column, column_of[row]);
    } while (row != start);
  }
};

// Returns the square matrix of the contract, `n` on a side.
std::vector<double> Extend(std::size_t n, std::size_t rows, std::size_t columns, const double* cost, double fill) {
  std::vector<double> square(n * n, fill);
  for (std::size_t i = 0; i < rows; ++i) std::copy_n(cost + i * columns, columns, &square[i * n]);
  for (std::size_t i = rows; i < n; ++i) std::fill(&square[i * n] + columns, &square[i * n] + n, 0.0);
  return square;
}

}  // namespace

void Lapjv(std::size_t rows, std::size_t columns, const double* cost, double limit, int* column_of, int* row_of) {
  std::fill_n(column_of, rows, kFree);
  std::fill_n(row_of, columns, kFree);
  if (rows == 0 || columns == 0) return;
  const bool limited = limit < kInfinity;
  const std::size_t n = limited ? rows + columns : std::max(rows, columns);
  std::vector<double> extended;
  if (limited || rows != columns) {
    extended = Extend(n, rows, columns, cost, limited ? limit / 2 : 0.0);
  }
  Square square(static_cast<int>(n), extended.empty() ? cost : extended.data());
  square.Solve();
  for (std::size_t i = 0; i < rows; ++i) {
    const int column = square.column_of[i];
    if (static_cast<std::size_t>(column) >= columns) continue;
    column_of[i] = column;
    row_of[column] = static_cast<int>(i);
  }
}

}  // namespace watchline
