#pragma once
#include "ashlar/driver.h"
