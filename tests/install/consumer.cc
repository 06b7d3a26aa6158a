// Uses the installed library the way a program outside the project does.
#include <iostream>

#include "ashlar/version.h"

int main() {
  std::cout << ashlar::version() << '\n';
  return std::cout.good() ? 0 : 1;
}
