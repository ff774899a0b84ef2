#include "assign.h"

#include <algorithm>
#include <functional>
#include <limits>

#include "lapjv.h"

namespace watchline {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int kRounds = 2;  // of outbidding: as many as R. Jonker and A. Volgenant found worth while

}  // namespace

EdgeTable EdgesUpTo(std::size_t rows, std::size_t columns, const double* cost, double most) {
  EdgeTable edges{{0}, {}};
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = 0; j < columns; ++j, ++cost) {
      if (*cost <= most) edges.edge.push_back({static_cast<int>(j), *cost});
    }
    edges.start.push_back(static_cast<int>(edges.edge.size()));
  }
  return edges;
}

// Every edge counts as its cost less the limit, staying alone as 0: then alone is a choice of each row for itself.

void SparseAssignment::Solve(int rows, int columns, const EdgeTable& edges, double limit) {
  limit_ = limit;
  column_of.assign(rows, kFree);
  row_of.assign(columns, kFree);
  row_price_.resize(rows);
  column_price_.assign(columns, 0.0);
  TakeCheapest(edges);
  if (waiting_.empty()) return;
  for (int round = 0; round < kRounds; ++round) Outbid(edges);
  reach_.assign(columns, kInfinity);
  from_.resize(columns);
  for (const int row : waiting_) Augment(edges, row);
}

void SparseAssignment::TakeCheapest(const EdgeTable& edges) {
  waiting_.clear();
  for (std::size_t i = 0; i < column_of.size(); ++i) {
    double least = 0;
    int best = kFree;
    for (int k = edges.start[i]; k < edges.start[i + 1]; ++k) {
      const auto [column, cost] = edges.edge[k];
      const double gain = cost - limit_;
      const bool freer = gain == least && best != kFree && row_of[best] != kFree && row_of[column] == kFree;
      if (gain < least || freer) {
        least = gain;
        best = column;
      }
    }
    row_price_[i] = least;
    if (best == kFree) continue;
    if (row_of[best] == kFree) {
      row_of[best] = static_cast<int>(i);
      column_of[i] = best;
    } else {
      waiting_.push_back(static_cast<int>(i));
    }
  }
}

// Each waiting row takes its best column, who may hold it, and lowers the price until its second choice is as good. Who
// is driven out goes next. Where both are as good already, the row waits for a search. Falling prices may take many
// steps to decide little: so their number is bounded.
void SparseAssignment::Outbid(const EdgeTable& edges) {
  std::size_t next = 0, later = 0, steps = 4 * waiting_.size();
  while (next < waiting_.size()) {
    const int row = waiting_[next++];
    double least = 0, second = kInfinity;  // alone is a choice, too
    int best = kFree;
    for (int k = edges.start[row]; k < edges.start[row + 1]; ++k) {
      const auto [column, cost] = edges.edge[k];
      const double reduced = cost - limit_ - column_price_[column];
      if (reduced >= second || cost >= limit_) continue;
      if (reduced >= least) {
        second = reduced;
      } else {
        second = least;
        least = reduced;
        best = column;
      }
    }
    row_price_[row] = std::min(second, 0.0);
    if (best == kFree) continue;
    const int driven_out = row_of[best];
    if (driven_out != kFree && (second <= least || steps == 0)) {
      row_price_[row] = least;
      waiting_[later++] = row;
      continue;
    }
    column_price_[best] += least - second;
    row_of[best] = row;
    column_of[row] = best;
    if (driven_out == kFree) continue;
    column_of[driven_out] = kFree;
    waiting_[--next] = driven_out;
    --steps;
  }
  waiting_.resize(later);
}

// Extends paths of `length` that end at `row` to its columns. Returns a free column that is no farther; else kFree.
int SparseAssignment::Reach(const EdgeTable& edges, int row, double length) {
  const double before = length - row_price_[row] - limit_;
  const double* price = column_price_.data();
  const Edge* edge = edges.edge.data();
  for (int k = edges.start[row], end = edges.start[row + 1]; k < end; ++k) {
    const auto [j, cost] = edge[k];
    if (cost - price[j] + before > bound_ || cost >= limit_) continue;  // most edges of a dense matrix
    const double longer = std::max(cost - price[j] + before, length);
    if (longer >= reach_[j]) continue;
    if (reach_[j] == kInfinity) reached_.push_back(j);
    reach_[j] = longer;
    from_[j] = row;
    if (row_of[j] == kFree) {
      if (longer == length) return j;
      bound_ = longer;
    }
    heap_.emplace_back(longer, j);
    std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
  }
  return kFree;
}

// Gives `start` a column, or leaves it or another row alone, along the shortest path.
void SparseAssignment::Augment(const EdgeTable& edges, int start) {
  heap_.clear();
  reached_.clear();
  settled_.clear();
  int alone = start;  // the row that would stay alone, and the length of the path to that
  double alone_length = -row_price_[start];
  double length = 0;
  bound_ = alone_length;
  int end = Reach(edges, start, length);
  while (end == kFree && !heap_.empty() && heap_.front().first <= alone_length) {
    const int column = heap_.front().second;
    length = heap_.front().first;
    std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
    heap_.pop_back();
    if (length > reach_[column]) continue;  // a shorter way was found later
    if (row_of[column] == kFree) {
      end = column;
      break;
    }
    settled_.push_back(column);
    const int row = row_of[column];
    if (length - row_price_[row] < alone_length) {
      alone = row;
      alone_length = length - row_price_[row];
      bound_ = std::min(bound_, alone_length);
    }
    end = Reach(edges, row, length);
  }
  Shift(end == kFree ? alone_length : length, start);
  if (end == kFree) std::swap(end, column_of[alone]);  // goes to the row before; no column where `alone` is `start`
  while (end != kFree) {
    const int row = from_[end];
    row_of[end] = row;
    std::swap(end, column_of[row]);
  }
  for (const int column : reached_) reach_[column] = kInfinity;
}

// Moves the prices so that every edge of the path just found is as good as any other of its row.
void SparseAssignment::Shift(double length, int start) {
  row_price_[start] += length;
  for (const int column : settled_) {
    const double shift = length - reach_[column];
    if (shift <= 0) continue;
    row_price_[row_of[column]] += shift;
    column_price_[column] -= shift;
  }
}

bool SparseAssignment::Unique(const EdgeTable& edges, double margin) {
  Tighten(edges, margin);
  return tight_.empty() || !HasCycle();
}

// Lists what rows could do instead at no more than `margin`. The last node, number `rows`, stands for being free.
void SparseAssignment::Tighten(const EdgeTable& edges, double margin) {
  const int rows = static_cast<int>(column_of.size());
  bool to_free = false;
  tight_.clear();
  for (int i = 0; i < rows; ++i) {
    for (int k = edges.start[i]; k < edges.start[i + 1]; ++k) {
      const auto [j, cost] = edges.edge[k];
      if (j == column_of[i] || cost - limit_ - row_price_[i] - column_price_[j] > margin) continue;
      tight_.emplace_back(i, row_of[j] == kFree ? rows : row_of[j]);
      to_free |= row_of[j] == kFree;
    }
    if (column_of[i] != kFree && -row_price_[i] <= margin) {
      tight_.emplace_back(i, rows);
      to_free = true;
    }
  }
  if (!to_free) return;
  for (int i = 0; i < rows; ++i) {
    if (column_of[i] == kFree || -column_price_[column_of[i]] <= margin) tight_.emplace_back(rows, i);
  }
}

// Is there another set of pairs? That is a ring of rows, each with the column of the next. Takes away nodes that no
// other leads to until none is left.
bool SparseAssignment::HasCycle() {
  const std::size_t nodes = column_of.size() + 1;
  incoming_.assign(nodes, 0);
  tight_start_.assign(nodes + 1, 0);
  for (const auto& [from, to] : tight_) {
    ++incoming_[to];
    ++tight_start_[from + 1];
  }
  for (std::size_t node = 0; node < nodes; ++node) tight_start_[node + 1] += tight_start_[node];
  ready_.clear();
  for (std::size_t node = 0; node < nodes; ++node) {
    if (incoming_[node] == 0) ready_.push_back(static_cast<int>(node));
  }
  for (std::size_t next = 0; next < ready_.size(); ++next) {
    const int node = ready_[next];
    for (int k = tight_start_[node]; k < tight_start_[node + 1]; ++k) {
      if (--incoming_[tight_[k].second] == 0) ready_.push_back(tight_[k].second);
    }
  }
  return ready_.size() < nodes;
}

}  // namespace watchline
