#include "pairs.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace watchline {
namespace {

double CentreX(const Box& box) { return (box.x1 + box.x2) / 2; }
double CentreY(const Box& box) { return (box.y1 + box.y2) / 2; }

double Area(const Box& box) { return (box.x2 - box.x1) * (box.y2 - box.y1); }

constexpr int kFew = 8;  // columns that one cell may hold: all are looked at sooner than sorted

// Returns how many times `side` fits into `length`, from 1 to 4 n.
double Cells(double length, double side, int n) {
  return length < side ? 1 : length < 4.0 * n * side ? length / side : 4.0 * n;
}

}  // namespace

int PairFinder::Axis::Cell(double centre) const {
  const double cell = (centre - low) * per_cell;
  return cell > 0 ? static_cast<int>(std::min(cell, cells - 1.0)) : 0;
}

// Returns how far apart the centres of a box with this side and of one in the grid may lie on this axis.
//
// An IoU of t needs t times the larger side in common, so the centres differ by at most half the sum of the sides less
// t times the larger, and one side is at most the other / t.
double PairFinder::Axis::Reach(double side, double least_iou) const {
  const double other = least_iou > 0.5 ? side : least_iou > 0 ? side / least_iou : largest;
  const double most = std::min(other, largest);
  return (side + most) / 2 * (1 + 1e-6) - least_iou * std::max(side, most) + slack;
}

void PairFinder::Axis::Lay(double lowest, double highest, double wanted) {
  low = lowest;
  slack = 1e-12 * std::max(std::abs(lowest), std::abs(highest));
  cells = std::max(1, static_cast<int>(wanted));
  per_cell = highest > lowest ? cells / (highest - lowest) : 0;
}

// Sorts the columns into cells about as large as the mean box; at most about four a column.
void PairFinder::Lay(const std::vector<Object>& columns) {
  const int n = static_cast<int>(columns.size());
  Box around{CentreX(columns[0].box), CentreY(columns[0].box), CentreX(columns[0].box), CentreY(columns[0].box)};
  double width = 0, height = 0;
  x_ = y_ = Axis{};
  for (const Object& object : columns) {
    const Box& box = object.box;
    const double cx = CentreX(box), cy = CentreY(box);
    around = {std::min(around.x1, cx), std::min(around.y1, cy), std::max(around.x2, cx), std::max(around.y2, cy)};
    width += box.x2 - box.x1;
    height += box.y2 - box.y1;
    x_.largest = std::max(x_.largest, box.x2 - box.x1);
    y_.largest = std::max(y_.largest, box.y2 - box.y1);
  }
  const double wide = Cells(around.x2 - around.x1, width / n, n), high = Cells(around.y2 - around.y1, height / n, n);
  const double shrink = n <= kFew ? 0 : std::min(1.0, std::sqrt(4.0 * n / (wide * high)));
  x_.Lay(around.x1, around.x2, wide * shrink);
  y_.Lay(around.y1, around.y2, high * shrink);

  cell_start_.assign(static_cast<std::size_t>(x_.cells) * y_.cells + 2, 0);
  cell_of_.resize(n);
  for (int j = 0; j < n; ++j) {
    cell_of_[j] = y_.Cell(CentreY(columns[j].box)) * x_.cells + x_.Cell(CentreX(columns[j].box));
    ++cell_start_[cell_of_[j] + 2];
  }
  for (std::size_t cell = 2; cell < cell_start_.size(); ++cell) cell_start_[cell] += cell_start_[cell - 1];
  placed_.resize(n);
  near_.resize(n);
  for (int j = 0; j < n; ++j) {  // moves each start, one cell ahead until now, to its place
    const Box& box = columns[j].box;
    placed_[cell_start_[cell_of_[j] + 1]++] = {box, Area(box), columns[j].class_id, j};
  }
}

// Lists in `near_` the places of all columns of the row's class with that IoU or nearly; returns how many they are.
// Most comparisons fail at random, so there is no branch on them.
int PairFinder::FindNear(const Object& row, double least_iou) {
  const Box& box = row.box;
  const double area = Area(box), cx = CentreX(box), cy = CentreY(box), least = least_iou * (1 - 1e-9);
  const double reach_x = x_.Reach(box.x2 - box.x1, least_iou), reach_y = y_.Reach(box.y2 - box.y1, least_iou);
  const int left = x_.Cell(cx - reach_x), right = x_.Cell(cx + reach_x);
  const int last = y_.Cell(cy + reach_y) * x_.cells;
  const Placed* placed = placed_.data();
  int* near = near_.data();
  int found = 0;
  for (int line = y_.Cell(cy - reach_y) * x_.cells; line <= last; line += x_.cells) {
    const int begin = cell_start_[line + left], end = cell_start_[line + right + 1];
    for (int k = begin; k < end; ++k) {
      const Placed& other = placed[k];
      const double width = std::min(box.x2, other.box.x2) - std::max(box.x1, other.box.x1);
      const double height = std::min(box.y2, other.box.y2) - std::max(box.y1, other.box.y1);
      const double shared = width * height;
      near[found] = k;
      found += (width > 0) & (height > 0) & (shared > least * (area + other.area - shared)) &
               (other.class_id == row.class_id);
    }
  }
  return found;
}

void PairFinder::Find(const std::vector<Object>& rows, const std::vector<Object>& columns, double least_iou,
                      OverlapTable& out) {
  out.start.assign(rows.size() + 1, 0);
  out.overlap.clear();
  if (columns.empty()) return;
  Lay(columns);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const int found = FindNear(rows[i], least_iou);
    for (int k = 0; k < found; ++k) {
      const Placed& other = placed_[near_[k]];
      const Overlap overlap{other.column, Iou(rows[i].box, other.box)};
      if (overlap.iou <= 0) continue;
      std::size_t place = out.overlap.size();
      out.overlap.push_back(overlap);
      for (; place > static_cast<std::size_t>(out.start[i]) && out.overlap[place - 1].column > overlap.column;
           --place) {
        out.overlap[place] = out.overlap[place - 1];
      }
      out.overlap[place] = overlap;
    }
    out.start[i + 1] = static_cast<int>(out.overlap.size());
  }
}

}  // namespace watchline
