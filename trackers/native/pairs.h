// Which boxes of one set overlap which of another: without looking at every pair.
#pragma once

#include <cstdint>
#include <vector>

#include "iou.h"

namespace watchline {

struct Object {
  Box box;
  std::int32_t class_id;
};

struct Overlap {
  int column;
  double iou;
};

// The overlaps of row i are `overlap[start[i]]` to before `overlap[start[i + 1]]`, ascending by column.
struct OverlapTable {
  std::vector<int> start;
  std::vector<Overlap> overlap;
};

// A grid over the centres of the columns. Keeps its memory between calls; gives the same answer each time.
class PairFinder {
 public:
  // Finds the pairs of one class that overlap, and among them all with an IoU of `least_iou` or more.
  //
  // The time is about that of the rows, the columns and the pairs that lie near each other; where all boxes lie in one
  // place, or one lies so far off that the others share a cell, every pair is looked at. Boxes are finite.
  void Find(const std::vector<Object>& rows, const std::vector<Object>& columns, double least_iou, OverlapTable& out);

 private:
  struct Axis {
    double low = 0, per_cell = 0;  // lowest centre; cells a pixel
    double largest = 0;            // largest side of a box
    double slack = 0;              // for rounding
    int cells = 1;

    void Lay(double lowest, double highest, double wanted);
    int Cell(double centre) const;
    double Reach(double side, double least_iou) const;
  };

  void Lay(const std::vector<Object>& columns);
  int FindNear(const Object& row, double least_iou);

  struct Placed {  // a column in its cell
    Box box;
    double area;
    std::int32_t class_id;
    int column;
  };

  Axis x_, y_;
  std::vector<int> cell_start_;  // line by line of cells
  std::vector<int> cell_of_;
  std::vector<Placed> placed_;
  std::vector<int> near_;
};

}  // namespace watchline
