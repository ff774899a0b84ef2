// Association by overlap: the sparse solver where there is one best set of pairs, the dense one where there are ties.
#pragma once

#include <cstddef>
#include <vector>

#include "assign.h"
#include "lapjv.h"
#include "pairs.h"

namespace watchline {

// Sets of pairs whose costs are closer are equal; rounding stays far below.
constexpr double kMargin = 1e-9;

// Keeps its memory between calls.
class OverlapAssignment {
 public:
  // Returns the column, or kFree, of every row: the pairs of least total cost, where leaving a row and a column alone
  // costs `limit`. It is the set that Lapjv finds for the whole matrix.
  //
  // `cost(row, column, iou)` is the cost of a pair; `iou` is 0 for all pairs of different classes. Where it is less
  // than `least_iou` - kMargin, the cost is above `limit` + kMargin.
  template <typename Cost>
  const std::vector<int>& Solve(const std::vector<Object>& rows, const std::vector<Object>& columns, double limit,
                                double least_iou, const Cost& cost) {
    if (least_iou - kMargin > 0) {  // else pairs without overlap count
      FindEdges(rows, columns, limit, least_iou, cost);
      sparse_.Solve(static_cast<int>(rows.size()), static_cast<int>(columns.size()), edges_, limit);
      if (sparse_.Unique(edges_, kMargin)) return sparse_.column_of;
    }
    SolveWhole(rows, columns, limit, cost);
    return tied_;
  }

 private:
  template <typename Cost>
  void FindEdges(const std::vector<Object>& rows, const std::vector<Object>& columns, double limit, double least_iou,
                 const Cost& cost) {
    finder_.Find(rows, columns, least_iou - kMargin, overlaps_);
    edges_.start.assign(1, 0);
    edges_.edge.clear();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      for (int k = overlaps_.start[i]; k < overlaps_.start[i + 1]; ++k) {
        const Overlap& overlap = overlaps_.overlap[k];
        const double its = cost(static_cast<int>(i), overlap.column, overlap.iou);
        if (its <= limit + kMargin) edges_.edge.push_back({overlap.column, its});
      }
      edges_.start.push_back(static_cast<int>(edges_.edge.size()));
    }
  }

  template <typename Cost>
  void SolveWhole(const std::vector<Object>& rows, const std::vector<Object>& columns, double limit, const Cost& cost) {
    std::vector<double> whole;
    whole.reserve(rows.size() * columns.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
      for (std::size_t j = 0; j < columns.size(); ++j) {
        const double iou = rows[i].class_id == columns[j].class_id ? Iou(rows[i].box, columns[j].box) : 0;
        whole.push_back(cost(static_cast<int>(i), static_cast<int>(j), iou));
      }
    }
    tied_.resize(rows.size());
    std::vector<int> row_of(columns.size());
    Lapjv(rows.size(), columns.size(), whole.data(), limit, tied_.data(), row_of.data());
  }

  PairFinder finder_;
  OverlapTable overlaps_;
  EdgeTable edges_;
  SparseAssignment sparse_;
  std::vector<int> tied_;
};

}  // namespace watchline
